"""What an image is made of, after OCI image-spec and Docker: documents in, values out, no effects."""
