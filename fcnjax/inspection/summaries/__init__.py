"""What `fcnjax models` shows of a model: its size, its layers, its receptive field, its features.

Size and theoretical receptive field are read off the traced computation (`program.py`); nothing is
computed or compiled for them. `weights.py` alone reads workdirs and files of weights.
"""
