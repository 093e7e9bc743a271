"""The relying party: enrolment, appraisal, release of leased keys, and their administration."""
