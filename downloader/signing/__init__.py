"""Signatures of models in the format of OpenSSF Model Signing: who has signed which files.

The cryptography is that of the `model-signing` package, an extra of ours, which a process of its own imports. It would
hash the files as well; here they have been hashed while they arrived, so it gets no file to read.
"""

from downloader.signing.check import FoundFiles, SignatureCheck, signatures
from downloader.signing.process import VerifyingProcess
from downloader.signing.signer import MAX_SIGNATURE_SIZE, TrustedSigner

__all__ = [
    "MAX_SIGNATURE_SIZE",
    "FoundFiles",
    "SignatureCheck",
    "TrustedSigner",
    "VerifyingProcess",
    "signatures",
]
