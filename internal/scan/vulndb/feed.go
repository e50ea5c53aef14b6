package vulndb

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"berth/internal/meta"
)

// Feeds of exploitation are kept as the sets of advisories are, by CVE in place of
// the package.
//
//   - EPSS, the scores of FIRST (https://www.first.org/epss/data_stats): CSV, as it is or
//     compressed by gzip, with a first line of comment that says the date.
//   - KEV, the catalogue of CISA (https://www.cisa.gov/known-exploited-vulnerabilities-catalog):
//     JSON.

// maxFeed bounds a feed, unpacked, in bytes.
const maxFeed = 256 << 20

// linesOfEPSS is how many lines of CSV a record has.
const linesOfEPSS = 5_000

// epss reads the scores of a CSV file and sends them in pieces, each with the line
// that says the date.
func (r *reader) epss(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	var from io.Reader = f
	if strings.HasSuffix(strings.ToLower(name), ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return fmt.Errorf("unpack %s: %w", name, err)
		}
		from = z
	}
	lines := bufio.NewScanner(io.LimitReader(from, maxFeed))
	comment, piece, n := "", strings.Builder{}, 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		err := r.take(Record{Name: name, Text: comment + "\n" + piece.String(), Feed: meta.FeedEPSS})
		piece.Reset()
		n = 0
		return err
	}
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "#"):
			comment = line
		case strings.HasPrefix(line, "CVE-"):
			piece.WriteString(line + "\n")
			n++
		}
		if n == linesOfEPSS {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return flush()
}

// isKEV recognises the catalogue of CISA among JSON files.
func isKEV(text []byte) bool {
	var head struct {
		Version string            `json:"catalogVersion"`
		Entries []json.RawMessage `json:"vulnerabilities"`
	}
	return strings.Contains(string(text), `"catalogVersion"`) && json.Unmarshal(text, &head) == nil && len(head.Entries) > 0
}

// feed takes a piece of a feed.
func (im *load) feed(r Record) error {
	var entries []meta.Exploit
	var date time.Time
	var err error
	switch r.Feed {
	case meta.FeedEPSS:
		entries, date, err = parseEPSS(r.Text)
	case meta.FeedKEV:
		entries, date, err = parseKEV(r.Text)
	default:
		err = fmt.Errorf("%q is no feed", r.Feed)
	}
	if err != nil {
		im.report.skip(fmt.Sprintf("%s: %v", r.Name, err))
		return nil
	}
	if im.state.Only != "" && im.state.Only != r.Feed {
		return nil
	}
	for _, e := range entries {
		body, err := json.Marshal(e)
		if err != nil {
			return err
		}
		set := im.state.Sets[r.Feed]
		set.Records++
		if date.After(set.UpdatedAt) {
			set.UpdatedAt = date
		}
		im.state.Sets[r.Feed] = set
		im.report.Records++
		im.rows = append(im.rows, row{set: r.Feed, pkg: e.CVE, id: r.Feed, body: body})
		if len(im.rows) >= batch {
			if err := im.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// parseEPSS reads lines of CVE, score and percentile after a comment such as
// #model_version:v2025.03.14,score_date:2026-11-24T12:00:00Z.
func parseEPSS(text string) (out []meta.Exploit, date time.Time, err error) {
	comment, rest, _ := strings.Cut(text, "\n")
	if _, at, ok := strings.Cut(comment, "score_date:"); ok {
		at, _, _ = strings.Cut(at, ",")
		for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05-0700", time.DateOnly} {
			if t, err := time.Parse(form, strings.TrimSpace(at)); err == nil {
				date = t
			}
		}
	}
	if date.IsZero() {
		return nil, date, errors.New("the first line does not say the score_date, so these are no scores of EPSS")
	}
	for line := range strings.Lines(rest) {
		fields := strings.Split(strings.TrimSpace(line), ",")
		if len(fields) != 3 {
			return nil, date, fmt.Errorf("the line %q is not CVE, score and percentile", line)
		}
		e := meta.Exploit{CVE: fields[0]}
		var err1, err2 error
		e.Score, err1 = strconv.ParseFloat(fields[1], 64)
		e.Percentile, err2 = strconv.ParseFloat(fields[2], 64)
		if err := errors.Join(err1, err2); err != nil || !share(e.Score) || !share(e.Percentile) {
			return nil, date, fmt.Errorf("the line %q has no score and percentile between 0 and 1", line)
		}
		out = append(out, e)
	}
	return out, date, nil
}

// share reports whether v lies between 0 and 1; NaN does not.
func share(v float64) bool { return v >= 0 && v <= 1 }

func parseKEV(text string) (out []meta.Exploit, date time.Time, err error) {
	var doc struct {
		Released time.Time `json:"dateReleased"`
		Entries  []struct {
			CVE   string `json:"cveID"`
			Added string `json:"dateAdded"`
		} `json:"vulnerabilities"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, date, fmt.Errorf("read the catalogue of exploited vulnerabilities: %w", err)
	}
	for _, e := range doc.Entries {
		if _, err := time.Parse(time.DateOnly, e.Added); err != nil || !strings.HasPrefix(e.CVE, "CVE-") {
			return nil, date, fmt.Errorf("the entry %q of %q has no CVE or no date", e.CVE, e.Added)
		}
		out = append(out, meta.Exploit{CVE: e.CVE, Exploited: e.Added})
	}
	return out, doc.Released, nil
}
