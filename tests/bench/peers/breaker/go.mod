module holdfast-breaker-peer

go 1.21

require github.com/sony/gobreaker v1.0.0
