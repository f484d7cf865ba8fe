from halfbeat.cli import main

main(prog_name="halfbeat")
