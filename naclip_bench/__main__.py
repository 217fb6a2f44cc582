"""``python -m naclip_bench`` is ``naclip-bench``."""

from .cli import main

if __name__ == '__main__':
    main()
