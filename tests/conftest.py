"""What holds for every test."""

import signal

# Whoever starts tests in the background has Ctrl-C ignored, and every program that they start would
# have too; to those that are tested for it, it comes as in a terminal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
