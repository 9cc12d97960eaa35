"""How an ensemble's members are to be combined, found on pictures that none of them was trained on."""
