"""Chaos: a seeded, replayable runner that hurts a real daemon under load and checks what must hold.

`schedule` decides what is done, `faults` does it, `scenarios` are the load, `findings` is what was seen.
`following`, `probing`, `residue` and `runner` check it, `report` and `timeline` tell of it.
"""
