package ecr

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Time is a timestamp of the API: on the wire a JSON number of seconds since the Unix epoch, with up to three decimals
// (AWS JSON 1.1, timestampFormat epoch-seconds). The zero Time is an absent one.
type Time struct{ time.Time }

// At is the Time of t, cut to the milliseconds that the wire carries, so that what is sent equals what is kept.
func At(t time.Time) Time {
	if t.IsZero() {
		return Time{}
	}
	return Time{time.UnixMilli(t.UnixMilli()).UTC()}
}

// MarshalJSON writes epoch seconds, rounded down to milliseconds. The zero Time is null where it cannot be left out.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	ms := t.UnixMilli()
	sign := ""
	if ms < 0 {
		sign, ms = "-", -ms
	}
	if ms%1000 == 0 {
		return fmt.Appendf(nil, "%s%d", sign, ms/1000), nil
	}
	return fmt.Appendf(nil, "%s%d.%03d", sign, ms/1000, ms%1000), nil
}

// UnmarshalJSON reads epoch seconds, with or without a fraction or an exponent; null leaves t as it is.
func (t *Time) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var number json.Number
	if err := json.Unmarshal(data, &number); err != nil || data[0] == '"' {
		return fmt.Errorf("timestamp must be a number of epoch seconds, not %.40q", data)
	}
	ms, err := parseEpoch(number.String())
	if err != nil {
		return err
	}
	*t = fromMilli(ms)
	return nil
}

// maxEpochMilli bounds what we read to the years 0 to 9999, the range other timestamp formats can write.
const maxEpochMilli = 253402300799999

// parseEpoch turns a JSON number of epoch seconds into milliseconds, rounded to the nearest.
func parseEpoch(number string) (int64, error) {
	seconds, err := strconv.ParseFloat(number, 64)
	ms := math.Round(seconds * 1000)
	if err != nil || math.Abs(ms) > maxEpochMilli {
		return 0, fmt.Errorf("timestamp %.40q is out of range, give epoch seconds", number)
	}
	return int64(ms), nil
}

func fromMilli(ms int64) Time { return Time{time.UnixMilli(ms).UTC()} }
