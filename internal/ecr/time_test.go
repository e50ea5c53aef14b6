package ecr

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTimeJSON(t *testing.T) {
	for _, tt := range []struct {
		ms   int64
		want string
	}{
		{0, `{"createdAt":0}`}, {1563223656000, `{"createdAt":1563223656}`}, {1563223656007, `{"createdAt":1563223656.007}`},
		{-1500, `{"createdAt":-1.500}`}, {-1, `{"createdAt":-0.001}`},
	} {
		got, err := Encode(&Repository{CreatedAt: At(time.UnixMilli(tt.ms))})
		if err != nil || string(got) != tt.want {
			t.Errorf("%d ms is %s, %v; want %s", tt.ms, got, err, tt.want)
		}
	}
	if got, err := Encode(&Repository{CreatedAt: At(time.Time{})}); err != nil || string(got) != `{}` {
		t.Errorf("the zero time is %s, %v", got, err)
	}
	if got, err := Encode([]Time{{}}); err != nil || string(got) != `[null]` {
		t.Errorf("the zero time in a list is %s, %v", got, err)
	}
	var when Time
	if err := json.Unmarshal([]byte(`1.563223656E9`), &when); err != nil || !when.Equal(time.Unix(1563223656, 0)) {
		t.Errorf("an exponent gives %v, %v", when, err)
	}
	for _, bad := range []string{`"1563223656"`, `"2019-07-15T20:47:36Z"`, `true`, `{}`, `1e300`, `-1e15`} {
		if err := json.Unmarshal([]byte(bad), &when); err == nil {
			t.Errorf("%s was read as %v", bad, when)
		}
	}
	if err := json.Unmarshal([]byte(`null`), &when); err != nil || when.Unix() != 1563223656 {
		t.Errorf("null gives %v, %v", when, err)
	}
}

func TestTimeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := rapid.Int64Range(-62135596799999, maxEpochMilli).Draw(t, "ms")
		want := At(time.UnixMilli(ms).Add(time.Duration(rapid.IntRange(0, 999999).Draw(t, "ns"))))
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Time
		if err := json.Unmarshal(text, &got); err != nil || got != want {
			t.Fatalf("%v is %s, read back as %v, %v", want, text, got, err)
		}
	})
}
