"""Does one optimizer beat another when the data distribution shifts, by how much, and how sure is that?

The parts are the folders: ``optim``, ``data``, ``streams``, ``models``, ``strategies``, ``metrics``. Nothing heavy is
imported here, so ``tamcl.optim`` needs torch alone and results open without torch.
"""

__version__ = "0.1.0"
