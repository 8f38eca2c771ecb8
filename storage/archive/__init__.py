"""Images in one file or directory: OCI layouts (as a tar or a directory) and Docker's archives.

What is read here comes from strangers: names are text within the archive and never reach a filesystem,
documents are bounded before they are parsed, and whoever stores a blob verifies its digest.
"""
