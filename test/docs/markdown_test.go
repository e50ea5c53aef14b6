package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// root is the top of the tree, from this package's directory.
const root = "../.."

// A document is what the tests look at in a Markdown file.
type document struct {
	path     string // from root
	headings []heading
	tables   []table
	blocks   []block
	links    []link
	lines    []string // outside of blocks; those of blocks are empty
}

type heading struct {
	level int
	text  string
}

// A table is its rows, each a list of cells.
type table [][]string

// A block is a fenced block of code.
type block struct{ language, text string }

type link struct {
	line   int
	target string
}

var (
	headingLine = regexp.MustCompile(`^(#{1,6}) +(.*?) *#*$`)
	inlineLink  = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	definition  = regexp.MustCompile(`^\[[^\]]+\]: +(\S+)`)
	codeSpan    = regexp.MustCompile("`[^`]+`")
	cellBorder  = regexp.MustCompile(`(?:^|[^\\])(\|)`)
)

func parse(path, text string) document {
	d := document{path: path}
	var fence string
	var open table
	for n, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "" && trimmed == fence:
			fence = ""
			line = ""
		case fence != "":
			b := &d.blocks[len(d.blocks)-1]
			b.text += line + "\n"
			line = ""
		case strings.HasPrefix(trimmed, "```"):
			fence = "```"
			d.blocks = append(d.blocks, block{language: strings.TrimPrefix(trimmed, "```")})
			line = ""
		}
		d.lines = append(d.lines, line)
		if m := headingLine.FindStringSubmatch(line); m != nil {
			d.headings = append(d.headings, heading{len(m[1]), m[2]})
		}
		if strings.HasPrefix(line, "|") {
			open = append(open, cells(line))
		} else if open != nil {
			d.tables, open = append(d.tables, open), nil
		}
		plain := codeSpan.ReplaceAllString(line, "")
		for _, re := range []*regexp.Regexp{inlineLink, definition} {
			for _, m := range re.FindAllStringSubmatch(plain, -1) {
				d.links = append(d.links, link{n + 1, m[1]})
			}
		}
	}
	if open != nil {
		d.tables = append(d.tables, open)
	}
	return d
}

// cells splits a row; the borders at both ends are no cells.
func cells(row string) (out []string) {
	start := 1
	for _, m := range cellBorder.FindAllStringSubmatchIndex(row, -1) {
		if at := m[2]; at > 0 {
			out = append(out, strings.TrimSpace(row[start:at]))
			start = at + 1
		}
	}
	return out
}

// spans are the texts of the code spans in a line.
func spans(line string) (out []string) {
	for _, s := range codeSpan.FindAllString(line, -1) {
		out = append(out, strings.Trim(s, "`"))
	}
	return out
}

// anchors are the fragments under which the headings can be reached, as the usual renderers make them.
func (d document) anchors() map[string]bool {
	out := map[string]bool{}
	for _, h := range d.headings {
		s := slug(h.text)
		unique := s
		for n := 1; out[unique]; n++ {
			unique = s + "-" + strconv.Itoa(n)
		}
		out[unique] = true
	}
	return out
}

func slug(text string) string {
	text = strings.ToLower(inlineLink.ReplaceAllString(text, ""))
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), unicode.IsMark(r), r == '-', r == '_':
			return r
		case r == ' ':
			return '-'
		default:
			return -1
		}
	}, text)
}

func read(t *testing.T, path string) document {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return parse(path, string(b))
}

// documents reads every Markdown file of the tree.
func documents(t *testing.T) (out []document) {
	t.Helper()
	skip := []string{".git", ".berth", ".terraform", "testdata", "bin", "results"}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && slices.Contains(skip, e.Name()):
			return filepath.SkipDir
		case filepath.Ext(path) == ".md":
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			out = append(out, read(t, filepath.ToSlash(rel)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParse(t *testing.T) {
	d := parse("x.md", strings.Join([]string{
		"# One `two`", "", "See [a](b.md#c) and `[no](link)`.", "| a | `b\\|c` |", "|---|---|", "| d | |",
		"```sh", "# no heading [no](link)", "| no | table |", "```", "## Đăng nhập, Docker", "## One two", "[r]: d.md",
	}, "\n"))
	switch {
	case len(d.headings) != 3 || d.headings[1] != (heading{2, "Đăng nhập, Docker"}):
		t.Errorf("headings: %v", d.headings)
	case len(d.tables) != 1 || len(d.tables[0]) != 3 || !slices.Equal(d.tables[0][0], []string{"a", "`b\\|c`"}) || !slices.Equal(d.tables[0][2], []string{"d", ""}):
		t.Errorf("tables: %q", d.tables)
	case len(d.blocks) != 1 || d.blocks[0] != (block{"sh", "# no heading [no](link)\n| no | table |\n"}):
		t.Errorf("blocks: %q", d.blocks)
	case !slices.Equal(d.links, []link{{3, "b.md#c"}, {13, "d.md"}}):
		t.Errorf("links: %v", d.links)
	}
	for _, want := range []string{"one-two", "đăng-nhập-docker", "one-two-1"} {
		if !d.anchors()[want] {
			t.Errorf("no anchor %q in %v", want, d.anchors())
		}
	}
}
