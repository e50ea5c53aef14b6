package sdk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"berth/internal/ecr"
)

func now() time.Time { return time.Now() }

// A reading compares an answer with a shape of the model.
type reading struct {
	wrong []string
	seen  map[string]bool // paths of members that have a value in at least one element of their lists
	since time.Time       // nothing in an answer is older
}

// read tells what is wrong with an answer. Every member that the model has must
// have a value, in at least one element of each list, but for the paths in
// lacks and what is below them; those must have none.
func read(shape *ecr.Shape, answer []byte, since time.Time, lacks []string) []string {
	r := &reading{seen: map[string]bool{}, since: since}
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return []string{"the answer is not JSON: " + err.Error()}
	}
	r.value("", shape, v)
	r.missing("", shape, lacks)
	for _, path := range lacks {
		for seen := range r.seen {
			rest, below := strings.CutPrefix(seen, path)
			if below && r.seen[seen] && (rest == "" || strings.ContainsRune(".[{", rune(rest[0]))) {
				r.say(path, "is there, though it is listed as lacking")
			}
		}
	}
	return r.wrong
}

func (r *reading) say(path, format string, args ...any) {
	r.wrong = append(r.wrong, path+" "+fmt.Sprintf(format, args...))
}

func (r *reading) value(path string, s *ecr.Shape, v any) {
	switch s.Kind {
	case ecr.KindStructure:
		object, ok := v.(map[string]any)
		if !ok {
			r.say(path, "is %T, want an object", v)
			return
		}
		known := map[string]*ecr.Shape{}
		for _, m := range s.Members {
			known[m.Name] = m.Shape
			if _, ok := object[m.Name]; m.Required && !ok {
				r.say(path+"."+m.Name, "is required and not there")
			}
		}
		for name, member := range object {
			if known[name] == nil {
				r.say(path+"."+name, "is not in the model")
				continue
			}
			r.value(path+"."+name, known[name], member)
		}
	case ecr.KindList:
		list, ok := v.([]any)
		if !ok {
			r.say(path, "is %T, want a list", v)
			return
		}
		r.bounds(path, s, int64(len(list)))
		r.seen[path] = r.seen[path] || len(list) > 0
		for _, e := range list {
			r.value(path+"[]", s.Elem, e)
		}
	case ecr.KindMap:
		object, ok := v.(map[string]any)
		if !ok {
			r.say(path, "is %T, want a map", v)
			return
		}
		r.seen[path] = r.seen[path] || len(object) > 0
		for key, value := range object {
			r.value(path+"{}", s.Elem, value)
			r.value(path+"{}", s.Key, key)
		}
	default:
		r.seen[path] = true
		r.scalar(path, s, v)
	}
}

func (r *reading) scalar(path string, s *ecr.Shape, v any) {
	switch s.Kind {
	case ecr.KindString:
		text, ok := v.(string)
		switch {
		case !ok:
			r.say(path, "is %T, want a string", v)
		case s.Enum != nil && !slices.Contains(s.Enum, text):
			r.say(path, "is %q, want one of %v", text, s.Enum)
		case s.Pattern != nil && !s.Pattern.Match(text):
			r.say(path, "is %q, want a match of %s", text, s.Pattern.Text)
		case text == "":
			r.say(path, "is empty")
		default:
			r.bounds(path, s, int64(utf8.RuneCountInString(text)))
		}
	case ecr.KindInteger, ecr.KindLong, ecr.KindDouble:
		number, ok := v.(json.Number)
		whole, err := number.Int64()
		switch {
		case !ok:
			r.say(path, "is %T, want a number", v)
		case err != nil && s.Kind != ecr.KindDouble:
			r.say(path, "is %s, want a whole number", number)
		case err == nil:
			r.bounds(path, s, whole)
		}
	case ecr.KindBoolean:
		if _, ok := v.(bool); !ok {
			r.say(path, "is %T, want a boolean", v)
		}
	case ecr.KindTimestamp:
		r.timestamp(path, v)
	default:
		r.say(path, "is a %s, which no answer has yet", s.Kind)
	}
}

// timestamp checks a number of seconds since 1970, with milliseconds, from the
// time of this test. Only an expiry lies ahead, as far as a password is good.
func (r *reading) timestamp(path string, v any) {
	number, ok := v.(json.Number)
	if !ok {
		r.say(path, "is %T, want a number of seconds", v)
		return
	}
	seconds, err := number.Float64()
	if err != nil {
		r.say(path, "is %s: %v", number, err)
		return
	}
	at := time.UnixMilli(int64(math.Round(seconds * 1000)))
	latest := now().Add(time.Second)
	if strings.HasSuffix(path, ".expiresAt") {
		latest = latest.Add(12 * time.Hour)
	}
	if at.Before(r.since.Add(-time.Second)) || at.After(latest) {
		r.say(path, "is %v, want a time between %v and %v", at, r.since, latest)
	}
}

func (r *reading) bounds(path string, s *ecr.Shape, n int64) {
	if s.Min != nil && n < *s.Min || s.Max != nil && n > *s.Max {
		r.say(path, "has length or value %d, which is out of the bounds of %s", n, s.Name)
	}
}

// missing looks for members of the shape that no value was seen of.
func (r *reading) missing(path string, s *ecr.Shape, lacks []string) {
	if slices.Contains(lacks, path) {
		return
	}
	switch s.Kind {
	case ecr.KindStructure:
		for _, m := range s.Members {
			r.missing(path+"."+m.Name, m.Shape, lacks)
		}
	case ecr.KindList, ecr.KindMap:
		if !r.seen[path] {
			r.say(path, "is absent or empty")
			return
		}
		if s.Kind == ecr.KindList {
			r.missing(path+"[]", s.Elem, lacks)
		}
	default:
		if !r.seen[path] {
			r.say(path, "is absent")
		}
	}
}

// TestReadingSeesWhatIsWrong keeps the comparison honest.
func TestReadingSeesWhatIsWrong(t *testing.T) {
	op, ok := ecr.LookupOperation("DescribePullThroughCacheRules")
	if !ok {
		t.Fatal("the model has no DescribePullThroughCacheRules")
	}
	rule := func(changes string) string {
		return `{"nextToken":"x","pullThroughCacheRules":[{"ecrRepositoryPrefix":"hub","upstreamRegistryUrl":"u","createdAt":1000.5,"registryId":"123456789012",
			"credentialArn":"arn:aws:secretsmanager:us-east-1:123456789012:secret:ecr-pullthroughcache/hub","customRoleArn":"r",
			"upstreamRepositoryPrefix":"library","upstreamRegistry":"quay","updatedAt":1000` + changes + `}]}`
	}
	for _, tt := range []struct {
		answer, wrong string
		lacks         []string
	}{
		{rule(``), "", nil},
		{rule(`,"colour":"red"`), ".pullThroughCacheRules[].colour is not in the model", nil},
		{rule(`,"registryId":"12"`), `.pullThroughCacheRules[].registryId is "12", want a match of [0-9]{12}`, nil},
		{rule(`,"upstreamRegistry":"hub"`), `.pullThroughCacheRules[].upstreamRegistry is "hub", want one of`, nil},
		{rule(`,"updatedAt":7`), ".pullThroughCacheRules[].updatedAt is", nil},
		{rule(`,"updatedAt":"2026-11-25T00:00:00Z"`), ".pullThroughCacheRules[].updatedAt is string", nil},
		{rule(`,"customRoleArn":7`), ".pullThroughCacheRules[].customRoleArn is json.Number", nil},
		{rule(``), ".nextToken is there", []string{".nextToken"}},
		{rule(``), ".pullThroughCacheRules is there", []string{".pullThroughCacheRules"}},
		{`{"pullThroughCacheRules":[{}]}`, ".pullThroughCacheRules[].registryId is absent", []string{".nextToken"}},
		{`{"pullThroughCacheRules":[]}`, ".pullThroughCacheRules is absent or empty", []string{".nextToken"}},
		{`{"pullThroughCacheRules":{}}`, ".pullThroughCacheRules is map", []string{".nextToken"}},
		{`[]`, " is []interface", []string{}},
		{`{`, "not JSON", nil},
	} {
		wrong := read(op.Output, []byte(tt.answer), time.Unix(1000, 0), tt.lacks)
		if tt.wrong == "" && len(wrong) > 0 || tt.wrong != "" && !strings.Contains(strings.Join(wrong, "\n"), tt.wrong) {
			t.Errorf("%s: got %q, want %q", tt.answer, wrong, tt.wrong)
		}
	}
}
