"""`triton-kit.yaml` becomes typed, validated specs."""
