"""The attester `tpm`, over TPM 2.0 commands of our own without any software stack in between.

    attester   evidence, proof of the key, locks, a look at what changed: the agent's port
    settings   what an operator decides
    identity   the attestation key of this process and the endorsement behind it
    lock       what opens the answer to a quote, in the state quoted only
    event_log  the firmware's log, as the kernel shows it
    errors     what a TPM answers when it refuses, as one sentence
    transport  command bytes there, response bytes back
    codec      structures of TPM 2.0 part 2, to bytes and from bytes
    exchange   one command and its response, framed and authorised
    answers    the values that the commands answer with
    commands   the commands of part 3 that the agent needs
    keys       endorsement keys, their certificates, attestation keys, activating a credential
    nv         an NV index, whole
    quote      a quote, and the PCR values that it is over

No command is encrypted or authenticated on its way to the TPM: whoever controls the bus, or the
host of a virtual TPM, sees and changes what passes. What a TPM says is believed by the verifier,
through signatures and activated credentials, and never by the agent.
"""
