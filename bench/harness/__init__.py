"""What every scenario needs: the programs, their clocks, a client, rounds, tables, plots."""
