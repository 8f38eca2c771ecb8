python3 /tmp/dist-zsh.py
