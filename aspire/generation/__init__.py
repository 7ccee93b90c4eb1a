"""New images: personalisers, samplers, filters, mixing."""
