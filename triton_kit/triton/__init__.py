"""Triton as a product: releases, configuration schema, models, addresses, TLS."""
