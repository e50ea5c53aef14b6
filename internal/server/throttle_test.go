package server

import (
	"net/http"
	"testing"
	"time"
)

func from(addr string) *http.Request { return &http.Request{RemoteAddr: addr} }

func TestThrottle(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	th := newThrottle(func() time.Time { return now })
	guesser, neighbour := from("10.0.0.1:1"), from("10.0.0.2:1")
	for i := range guessBurst {
		if th.Spent(guesser) {
			t.Fatalf("spent after %d failures", i)
		}
		th.Failed(guesser)
	}
	if !th.Spent(guesser) || !th.Spent(from("10.0.0.1:2")) || !th.Spent(from("[::ffff:10.0.0.1]:3")) {
		t.Error("a guesser is heard, by another port or form of its address")
	}
	if th.Spent(neighbour) || th.Spent(from("")) {
		t.Error("somebody else is not heard")
	}
	now = now.Add(guessRefill)
	if th.Spent(guesser) {
		t.Error("not heard after a second")
	}
	th.Failed(guesser)
	if !th.Spent(guesser) {
		t.Error("heard twice in a second")
	}
	now = now.Add(time.Hour)
	for range guessBurst - 1 {
		th.Failed(guesser)
	}
	if th.Spent(guesser) {
		t.Error("an hour gave more than all back, or less")
	}
	for range guessBurst {
		th.Failed(from("[2001:db8::1]:1"))
	}
	if !th.Spent(from("[2001:db8::ffff]:1")) || th.Spent(from("[2001:db8:0:1::1]:1")) {
		t.Error("a network of IPv6 is one source, and another is not")
	}
}

// Whoever has many addresses fills no memory.
func TestThrottleIsBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	th := newThrottle(func() time.Time { return now })
	for i := range 3 * maxSources {
		th.Failed(from("10." + itoa(i>>16) + "." + itoa(i>>8&255) + "." + itoa(i&255) + ":1"))
	}
	if len(th.sources) > maxSources {
		t.Errorf("%d sources are kept", len(th.sources))
	}
}

func itoa(i int) string {
	if i < 10 {
		return string(rune('0' + i))
	}
	return itoa(i/10) + string(rune('0'+i%10))
}
