"""`fraud-mlops doctor`: whether this machine and its settings are fit to run the project.

Only what the settings ask for is looked at. What is on this machine is looked at in this process;
each service is asked by a process of its own, all at once, with a time-out that holds.
"""
