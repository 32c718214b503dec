"""``python -m arnet``, which ``torchrun -m arnet`` needs."""

from arnet.cli import main

if __name__ == "__main__":
    main()
