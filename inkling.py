"""The program `inkling`. It imports the command line late, because every worker process imports this file again."""


def main() -> None:
    from app.cli import command_line

    command_line.main()


if __name__ == "__main__":
    main()
