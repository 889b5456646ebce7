"""Triton as a product: releases, the ModelConfig schema, addresses, TLS."""
