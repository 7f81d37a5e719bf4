"""All notebooks in one command: ``plan`` says which run with which parameters, ``run`` runs what is not up to date."""
