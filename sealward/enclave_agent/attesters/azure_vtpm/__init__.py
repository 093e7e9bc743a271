"""Azure's confidential VMs: a virtual TPM, and a hardware report that vouches for its key.

The TPM of such a guest is kept by a paravisor inside the protected machine, out of the host's
reach. The guest has no interface to SEV-SNP or TDX: the paravisor asks the hardware for a report
over the hash of a JSON text that names the TPM's attestation key, and leaves both in NV memory.

    hcl       that report: NV index 0x01400001, its layout, and how to get a fresh one
    metadata  what only the host has: TD quotes and AMD's certificates, over HTTP
    attester  the evidence: report, quote, PCR values, event log, certificates

Sources: Microsoft, "Azure Confidential VM guest attestation design detail"; the vTPM of Microsoft's
OpenVMM for when a report is renewed. Evidence: docs/specs/evidence-envelope.md, section 8.
"""
