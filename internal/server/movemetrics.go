package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"berth/internal/audit"
	"berth/internal/meta"
)

// moveMetrics tells where the bytes of archived images are.
type moveMetrics struct {
	db                                    *meta.DB
	mover                                 *audit.Mover
	log                                   *slog.Logger
	blobs, bytes, stored, moves, failures *prometheus.Desc
}

func newMoveMetrics(db *meta.DB, m *audit.Mover, log *slog.Logger) *moveMetrics {
	in := []string{"store"}
	return &moveMetrics{
		db: db, mover: m, log: log,
		blobs:    prometheus.NewDesc("berth_archive_blobs", "Layers of archived images whose bytes were moved: compressed in the main store, or in the second one.", in, nil),
		bytes:    prometheus.NewDesc("berth_archive_bytes", "Bytes of these layers, as they were pushed.", in, nil),
		stored:   prometheus.NewDesc("berth_archive_stored_bytes", "Bytes that they take, before sealing.", in, nil),
		moves:    prometheus.NewDesc("berth_archive_moves_total", "Layers that this server moved, to the archive or back.", []string{"direction"}, nil),
		failures: prometheus.NewDesc("berth_archive_failures_total", "Layers that this server could not move.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *moveMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.blobs, m.bytes, m.stored, m.moves, m.failures} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *moveMetrics) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, n int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, t, float64(n), labels...)
	}
	send(m.moves, prometheus.CounterValue, m.mover.Archived.Load(), "archive")
	send(m.moves, prometheus.CounterValue, m.mover.Returned.Load(), "back")
	send(m.failures, prometheus.CounterValue, m.mover.Failures.Load())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var packed, cold meta.MovedTotal
	err := m.db.View(ctx, func(tx *meta.Tx) (err error) {
		packed, cold, err = tx.MovedTotals()
		return err
	})
	if err != nil {
		m.log.Warn("count the layers of archived images", "err", err)
		return
	}
	for store, t := range map[string]meta.MovedTotal{"main": packed, "archive": cold} {
		send(m.blobs, prometheus.GaugeValue, t.Blobs, store)
		send(m.bytes, prometheus.GaugeValue, t.Bytes, store)
		send(m.stored, prometheus.GaugeValue, t.Stored, store)
	}
}
