package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// A budget ends a measurement: when any of its limits is reached, what has
// begun is finished and nothing more begins. 0 is no limit.
type budget struct {
	items  int
	time   time.Duration
	amount float64 // in the workload's unit
}

// spent tells whether item i does not begin any more. The first always does.
func (b budget) spent(i int, time time.Duration, amount float64) bool {
	return i > 0 && (b.items > 0 && i >= b.items || b.time > 0 && time >= b.time || b.amount > 0 && amount >= b.amount)
}

// A sample is what one measurement showed.
type sample struct {
	Rate        float64 `json:"rate"` // amount per second
	Requests    int64   `json:"requests"`
	Seconds     float64 `json:"seconds"`
	ServerCPU   float64 `json:"server_cpu_seconds"`
	ClientCPU   float64 `json:"client_cpu_seconds"`
	PeakRSS     int64   `json:"peak_rss_bytes"`
	P50         float64 `json:"item_p50_ms"`
	P99         float64 `json:"item_p99_ms"`
	ClientBound bool    `json:"client_bound"`
}

// clientBound tells whether the load client was what could not go faster: the
// machine had nothing left to give, and the client had taken most of it. A
// client of fewer goroutines than there are CPUs has only those.
func clientBound(s sample, cpus, clients int) bool {
	used := (s.ServerCPU + s.ClientCPU) / (s.Seconds * float64(cpus))
	share := s.ClientCPU / (s.Seconds * float64(min(cpus, clients)))
	return share > 0.9 || used > 0.85 && s.ClientCPU > s.ServerCPU
}

// A job does item i of a workload and tells the amount done.
type job func(ctx context.Context, c *client, i int) (amount float64, err error)

// drive runs items on some clients at once, each with a connection of its own.
func drive(ctx context.Context, s *server, clients int, b budget, do job) (sample, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if s.pid != 0 {
		syscall.Sync() // so that nobody pays for what another one left to be written
	}
	m, err := startMeter(s)
	if err != nil {
		return sample{}, err
	}
	var (
		next      atomic.Int64
		done      atomic.Int64 // in thousandths
		requests  atomic.Int64
		mu        sync.Mutex
		latencies []float64
		group     sync.WaitGroup
	)
	for range clients {
		group.Go(func() {
			c := s.client()
			var own []float64
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				now := time.Now()
				if b.spent(i, now.Sub(m.began), float64(done.Load())/1000) {
					break
				}
				amount, err := do(ctx, c, i)
				if err != nil {
					cancel(err)
					break
				}
				done.Add(int64(amount * 1000))
				own = append(own, time.Since(now).Seconds()*1000)
			}
			if err := c.w.close(); err != nil {
				cancel(err)
			}
			requests.Add(c.w.requests)
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, own...)
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		return sample{}, err
	}
	out, err := m.stop()
	out.Requests = requests.Load()
	out.Rate = float64(done.Load()) / 1000 / out.Seconds
	out.P50, out.P99 = percentile(latencies, 0.5), percentile(latencies, 0.99)
	out.ClientBound = hasProc() && s.pid != 0 && clientBound(out, runtime.NumCPU(), clients)
	return out, err
}

// A meter reads time, CPU time and memory around a measurement.
type meter struct {
	s              *server
	began          time.Time
	server, client time.Duration
}

func startMeter(s *server) (m meter, err error) {
	m.s = s
	if s.pid != 0 && hasProc() {
		if err := resetPeak(s.pid); err != nil {
			return m, fmt.Errorf("%s: %w", s.name, err)
		}
		if m.server, err = cpuTime(s.pid); err != nil {
			return m, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	m.client, err = ownTime()
	m.began = time.Now()
	return m, err
}

func (m meter) stop() (out sample, err error) {
	out.Seconds = time.Since(m.began).Seconds()
	client, err := ownTime()
	if err != nil {
		return out, err
	}
	out.ClientCPU = (client - m.client).Seconds()
	if m.s.pid == 0 || !hasProc() {
		return out, nil
	}
	server, err := cpuTime(m.s.pid)
	if err != nil {
		return out, errors.Join(fmt.Errorf("%s is gone", m.s.name), err)
	}
	out.ServerCPU = (server - m.server).Seconds()
	out.PeakRSS, err = peakRSS(m.s.pid)
	return out, err
}
