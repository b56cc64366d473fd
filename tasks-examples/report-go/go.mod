module report
go 1.24
