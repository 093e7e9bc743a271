"""Development only: mints genuine evidence formats under development roots, for tests and demos.

Nothing here may enter a production image: the production distribution `sealward` neither contains
nor imports this package (security-requirements F29). What is minted is byte for byte what AMD's
firmware and key service would produce, except that the root is generated on the spot, carries a
critical marker extension, lives at most seven days and is named so that nobody mistakes it.
"""

__version__ = "0.1.0"
