import sys
from pathlib import Path

# Tests are imported by path; what several of them share, such as doctor_sets.py, by name.
sys.path.append(str(Path(__file__).parent))
