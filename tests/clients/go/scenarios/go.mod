module strandline/scenarios

go 1.24
