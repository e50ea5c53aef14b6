package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"berth/internal/module/plan"
)

// Text writes a plan for people: what happens to each resource, the notes, and the summary line. Color adds ANSI
// colours.
func Text(w io.Writer, p *plan.Plan, color bool) error {
	t := &printer{color: color}
	if p.Counts().Empty() {
		t.line("%s", t.paint(bold+green, "No changes.")+" "+t.paint(bold, strings.TrimPrefix(NoChanges(p), "No changes. ")))
	} else {
		t.legend(p)
		for _, c := range p.Changes() {
			if c.Action != plan.NoOp {
				t.change(c)
			}
		}
		t.line("%s", Summary(p.Counts()))
	}
	for _, note := range p.Notes {
		t.line("")
		t.line("Note: %s.", note)
	}
	for _, reason := range p.Blockers {
		t.line("")
		t.line("%s %s.", t.paint(red+bold, "Apply will refuse this plan:"), reason)
	}
	_, err := w.Write(t.out.Bytes())
	return err
}

// NoChanges is the line of a plan that changes nothing.
func NoChanges(p *plan.Plan) string {
	if p.Destroy {
		return "No changes. No objects need to be destroyed."
	}
	return "No changes. Your infrastructure matches the configuration."
}

// Summary is the last line of a plan that changes something.
func Summary(n plan.Counts) string {
	return fmt.Sprintf("Plan: %d to add, %d to change, %d to destroy.", n.Add, n.Change, n.Destroy)
}

const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	reset  = "\x1b[0m"
)

// printer writes into memory, where writing cannot fail.
type printer struct {
	out    bytes.Buffer
	color  bool
	inJSON bool // inside a JSON document, where what is removed does not become null
}

func (t *printer) line(format string, args ...any) {
	fmt.Fprintf(&t.out, format+"\n", args...)
}

func (t *printer) paint(code, s string) string {
	if !t.color || s == "" {
		return s
	}
	return code + s + reset
}

// symbol is the mark in front of a changed thing, coloured.
func (t *printer) symbol(a plan.Action) string {
	switch a {
	case plan.Create:
		return t.paint(green, "+")
	case plan.Update:
		return t.paint(yellow, "~")
	case plan.Delete:
		return t.paint(red, "-")
	case plan.Replace:
		return t.paint(red, "-") + "/" + t.paint(green, "+")
	}
	return " "
}

func (t *printer) legend(p *plan.Plan) {
	words := []struct {
		action plan.Action
		text   string
	}{
		{plan.Create, "create"}, {plan.Update, "update in-place"}, {plan.Delete, "destroy"},
		{plan.Replace, "destroy and then create replacement"},
	}
	t.line("Berth will perform these actions:")
	for _, word := range words {
		if slices.ContainsFunc(p.Changes(), func(c plan.Change) bool { return c.Action == word.action }) {
			pad := "  "
			if word.action == plan.Replace {
				pad = ""
			}
			t.line("%s%s %s", pad, t.symbol(word.action), word.text)
		}
	}
	t.line("")
}

func (t *printer) change(c plan.Change) {
	verb := map[plan.Action]string{
		plan.Create: "will be created", plan.Update: "will be updated in-place",
		plan.Delete: "will be destroyed", plan.Replace: "must be replaced",
	}[c.Action]
	t.line("  %s %s", t.paint(bold, "# "+c.Address()), t.paint(bold, verb))
	if c.Reason != "" {
		t.line("  # (%s)", c.Reason)
	}
	pad := "  "
	if c.Action == plan.Replace {
		pad = ""
	}
	t.line("%s%s resource %q %q {", pad, t.symbol(c.Action), c.Type, "this")
	t.attributes(6, c)
	t.line("    }")
	t.line("")
}

// entry is one thing with a name: an attribute, an element of a map or of a list. Nil means that it is not there.
type entry struct {
	label         string // as printed
	before, after any
	unknown       bool // after is known only after apply
	forces        bool // its change forces the replacement
	block         bool // printed as a block
	identity      bool // printed even when it does not change
}

// attributes prints the attributes of a resource, blocks last.
func (t *printer) attributes(indent int, c plan.Change) {
	names := map[string]bool{}
	for _, m := range []map[string]any{c.Before, c.After} {
		for name := range m {
			names[name] = true
		}
	}
	for name := range c.Unknown {
		names[name] = true
	}
	var entries []entry
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if name == "tags_all" {
			continue // always equal to tags here
		}
		e := entry{
			label: name, before: c.Before[name], after: c.After[name], unknown: c.Unknown[name],
			forces: slices.Contains(c.Forces, name), identity: identity(name),
		}
		if name == "policy" {
			e.before, e.after = document(e.before), document(e.after)
		}
		_, blockBefore := e.before.([]any)
		_, blockAfter := e.after.([]any)
		e.block = blockBefore || blockAfter
		entries = append(entries, e)
	}
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case a.block == b.block:
			return 0
		case b.block:
			return -1
		}
		return 1
	})
	t.entries(indent, entries, "attribute")
}

// identity says whether an attribute tells one thing from another, and is shown even when it stays as it is.
func identity(name string) bool {
	switch name {
	case "id", "name", "repository", "ecr_repository_prefix", "rulePriority", "Sid":
		return true
	}
	return false
}

// jsonText is a JSON document that is the value of a text attribute.
type jsonText struct{ value any }

// document decodes a policy so that its parts can be compared; a text that is not JSON stays a text.
func document(v any) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var decoded any
	if decoder.Decode(&decoded) != nil {
		return v
	}
	return jsonText{decoded}
}

func (e entry) action() plan.Action {
	switch {
	case e.unknown && e.before == nil:
		return plan.Create
	case e.unknown:
		return plan.Update
	case e.before == nil && e.after == nil, reflect.DeepEqual(e.before, e.after):
		return plan.NoOp
	case e.before == nil:
		return plan.Create
	case e.after == nil:
		return plan.Delete
	}
	return plan.Update
}

// entries prints siblings with their equals signs under each other, and counts those that do not change.
func (t *printer) entries(indent int, list []entry, what string) {
	var shown []entry
	hidden, hiddenBlocks, width := 0, 0, 0
	for _, e := range list {
		if e.action() == plan.NoOp && !(e.identity && e.after != nil) {
			switch {
			case e.block:
				hiddenBlocks++
			case e.after != nil:
				hidden++
			}
			continue
		}
		shown = append(shown, e)
		if !e.block {
			width = max(width, utf8.RuneCountInString(e.label))
		}
	}
	blocks := false
	for _, e := range shown {
		if e.block && !blocks {
			blocks = true
			if len(shown) > 1 && !shown[0].block {
				t.hidden(indent, hidden, what)
				hidden = 0
				t.line("")
			}
		}
		t.entry(indent, e, width)
	}
	t.hidden(indent, hidden, what)
	if hiddenBlocks > 0 {
		if len(shown) > 0 {
			t.line("")
		}
		t.hidden(indent, hiddenBlocks, "block")
	}
}

func (t *printer) hidden(indent, n int, what string) {
	switch {
	case n == 1:
		t.line("%s  # (1 unchanged %s hidden)", spaces(indent), what)
	case n > 1:
		t.line("%s  # (%d unchanged %ss hidden)", spaces(indent), n, what)
	}
}

func spaces(n int) string { return strings.Repeat(" ", n) }

// entry prints one thing.
func (t *printer) entry(indent int, e entry, width int) {
	if e.block {
		t.block(indent, e)
		return
	}
	head := spaces(indent) + t.symbol(e.action()) + " "
	if e.label != "" {
		head += e.label + spaces(width-utf8.RuneCountInString(e.label)) + " = "
	}
	tail := ""
	if e.action() == plan.Delete && !t.inJSON {
		tail = " -> null"
	}
	if e.forces {
		tail += t.paint(red, " # forces replacement")
	}
	before, beforeJSON := e.before.(jsonText)
	after, afterJSON := e.after.(jsonText)
	switch {
	case e.unknown && e.before == nil:
		t.line("%s(known after apply)", head)
	case e.unknown:
		t.line("%s%s -> (known after apply)%s", head, scalar(e.before), tail)
	case (beforeJSON || e.before == nil) && (afterJSON || e.after == nil):
		t.line("%sjsonencode(", head)
		t.inJSON = true
		t.nested(indent+4, spaces(indent+6), "", before.value, after.value)
		t.inJSON = false
		t.line("%s)%s", spaces(indent+2), tail)
	case composite(e.before, e.after):
		t.nested(indent, head, tail, e.before, e.after)
	case e.action() == plan.Update:
		t.line("%s%s -> %s%s", head, scalar(e.before), scalar(e.after), tail)
	case e.after == nil:
		t.line("%s%s%s", head, scalar(e.before), tail)
	default:
		t.line("%s%s%s", head, scalar(e.after), tail)
	}
}

// composite says whether both values, as far as they are there, are maps or are lists.
func composite(before, after any) bool {
	kind := func(v any) string {
		switch v.(type) {
		case map[string]any:
			return "map"
		case []any:
			return "list"
		case nil:
			return ""
		}
		return "scalar"
	}
	b, a := kind(before), kind(after)
	return b != "scalar" && a != "scalar" && (b == a || b == "" || a == "")
}

// nested prints a map or a list. Values of different kinds are printed as a removal and an addition.
func (t *printer) nested(indent int, head, tail string, before, after any) {
	if !composite(before, after) {
		t.line("%s%s -> %s%s", head, scalar(before), scalar(after), tail)
		return
	}
	_, listBefore := before.([]any)
	_, listAfter := after.([]any)
	if listBefore || listAfter {
		t.line("%s[", head)
		t.entries(indent+4, listEntries(before, after), "element")
		t.line("%s]%s", spaces(indent+2), tail)
		return
	}
	t.line("%s{", head)
	t.entries(indent+4, mapEntries(before, after), "element")
	t.line("%s}%s", spaces(indent+2), tail)
}

func mapEntries(before, after any) []entry {
	b, _ := before.(map[string]any)
	a, _ := after.(map[string]any)
	names := map[string]bool{}
	for name := range b {
		names[name] = true
	}
	for name := range a {
		names[name] = true
	}
	var list []entry
	for _, name := range slices.Sorted(maps.Keys(names)) {
		label := name
		if !plain(name) {
			label = strconv.Quote(name)
		}
		list = append(list, entry{label: label, before: b[name], after: a[name], identity: identity(name)})
	}
	return list
}

// plain says whether a key can be written without quotes.
func plain(s string) bool {
	for i, c := range s {
		if !(c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c == '-' || c >= '0' && c <= '9')) {
			return false
		}
	}
	return s != ""
}

func listEntries(before, after any) []entry {
	b, _ := before.([]any)
	a, _ := after.([]any)
	var list []entry
	for i := range max(len(b), len(a)) {
		var e entry
		if i < len(b) {
			e.before = b[i]
		}
		if i < len(a) {
			e.after = a[i]
		}
		list = append(list, e)
	}
	return list
}

// block prints a nested block, such as encryption_configuration. The module has one of each at most.
func (t *printer) block(indent int, e entry) {
	first := func(v any) any {
		if list, ok := v.([]any); ok && len(list) > 0 {
			return list[0]
		}
		return nil
	}
	before, after := first(e.before), first(e.after)
	tail := ""
	if e.forces {
		tail = t.paint(red, " # forces replacement")
	}
	t.line("%s%s %s {%s", spaces(indent), t.symbol(e.action()), e.label, tail)
	t.entries(indent+4, mapEntries(before, after), "attribute")
	t.line("%s}", spaces(indent+2))
}

// scalar prints a value on one line.
func scalar(v any) string {
	switch x := v.(type) {
	case nil:
		return "null"
	case string:
		return quote(x)
	case jsonText:
		return "jsonencode(" + scalar(x.value) + ")"
	case json.Number:
		return x.String()
	case map[string]any, []any:
		b, err := json.Marshal(x)
		if err != nil {
			return fmt.Sprint(x) // not reached: the value was decoded from JSON
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

// quote writes a text as an HCL literal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, c := range s {
		switch c {
		case '\n':
			b.WriteString(`\n`)
		case '\r':
			b.WriteString(`\r`)
		case '\t':
			b.WriteString(`\t`)
		case '"':
			b.WriteString(`\"`)
		case '\\':
			b.WriteString(`\\`)
		case '$', '%':
			b.WriteRune(c)
			if strings.HasPrefix(s[i+1:], "{") {
				b.WriteRune(c)
			}
		default:
			if c < ' ' || c == 0x7f || c >= 0x80 && c < 0xa0 {
				fmt.Fprintf(&b, `\u%04x`, c) // no control character reaches the terminal
				continue
			}
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
