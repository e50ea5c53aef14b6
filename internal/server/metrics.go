package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"berth/internal/pullthrough"
	"berth/internal/trail"
)

// metrics counts what the doors do.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	trail    *trail.Log // nil: there is none
}

func newMetrics(records *trail.Log) *metrics {
	m := &metrics{
		trail:    records,
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "berth_requests_total", Help: "Requests answered, by door (ecr, kms, secretsmanager, oci, iam), method and status.",
		}, []string{"door", "method", "status"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "berth_request_duration_seconds", Help: "Time until a request was answered in full, by door and method.",
			Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 600},
		}, []string{"door", "method"}),
	}
	m.registry.MustRegister(m.requests, m.duration, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// methodLabel bounds the label: a client may send any word.
func methodLabel(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	default:
		return "other"
	}
}

// serve passes a request to a door, counts it and has it recorded.
func (m *metrics) serve(door string, h http.Handler, w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	r, finish := m.trail.Begin(door, w, r)
	sw := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	method := methodLabel(r.Method)
	done := false
	defer func() {
		if !done { // the handler panicked, and the connection will be cut
			sw.status = http.StatusInternalServerError
		}
		finish(sw.status)
		m.requests.WithLabelValues(door, method, strconv.Itoa(sw.status)).Inc()
		m.duration.WithLabelValues(door, method).Observe(time.Since(start).Seconds())
	}()
	h.ServeHTTP(sw, r)
	done = true
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// cacheMetrics tells what the pull-through cache did, by rule.
type cacheMetrics struct {
	cache                                                          *pullthrough.Cache
	pulls, requests, blobs, bytes, failures, limit, remain, readAt *prometheus.Desc
}

func newCacheMetrics(c *pullthrough.Cache) *cacheMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("berth_cache_"+name, help, append([]string{"account", "region", "rule"}, labels...), nil)
	}
	return &cacheMetrics{
		cache:    c,
		pulls:    desc("pulls_total", "Manifests asked of cached repositories: hit, when they were here, or miss.", "result"),
		requests: desc("upstream_requests_total", "Requests sent to upstream registries."),
		blobs:    desc("blobs_total", "Layers of cached repositories: from the upstream, or to clients from the cache.", "from"),
		bytes:    desc("bytes_total", "Bytes of these layers; those from the cache are what it saved.", "from"),
		failures: desc("failures_total", "Layers of upstreams that could not be kept."),
		limit:    desc("ratelimit_limit", "Pulls that the upstream registry answers within its window, as it said last."),
		remain:   desc("ratelimit_remaining", "Pulls that the upstream registry still answers within its window, as it said last."),
		readAt:   desc("ratelimit_timestamp_seconds", "When the upstream registry said so."),
	}
}

// Describe implements prometheus.Collector.
func (m *cacheMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m *cacheMetrics) Collect(out chan<- prometheus.Metric) {
	for _, s := range m.cache.Stats() {
		send := func(d *prometheus.Desc, kind prometheus.ValueType, n float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, kind, n, append([]string{s.Scope.Account, s.Scope.Region, s.Prefix}, labels...)...)
		}
		count := func(d *prometheus.Desc, n int64, labels ...string) {
			send(d, prometheus.CounterValue, float64(n), labels...)
		}
		count(m.pulls, s.Hits, "hit")
		count(m.pulls, s.Misses, "miss")
		count(m.requests, s.Requests)
		count(m.blobs, s.Fetched, "upstream")
		count(m.blobs, s.Served, "cache")
		count(m.bytes, s.FetchedBytes, "upstream")
		count(m.bytes, s.ServedBytes, "cache")
		count(m.failures, s.Failures)
		if !s.Limit.At.IsZero() {
			send(m.limit, prometheus.GaugeValue, float64(s.Limit.Pulls))
			send(m.remain, prometheus.GaugeValue, float64(s.Limit.Remaining))
			send(m.readAt, prometheus.GaugeValue, float64(s.Limit.At.UnixMilli())/1000)
		}
	}
}
