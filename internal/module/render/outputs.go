package render

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Output is one output of a configuration.
type Output struct {
	Name      string
	Value     cty.Value
	Sensitive bool
}

// Outputs writes all outputs as `terraform output` does: in the notation of the language, without those that are null,
// and with sensitive ones covered.
func Outputs(w io.Writer, outputs []Output) error {
	var b strings.Builder
	for _, o := range outputs {
		switch {
		case o.Value.IsNull():
		case o.Sensitive:
			fmt.Fprintf(&b, "%s = <sensitive>\n", o.Name)
		default:
			fmt.Fprintf(&b, "%s = %s\n", o.Name, Value(o.Value))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Value writes a value in the notation of the language.
func Value(v cty.Value) string {
	var b strings.Builder
	writeValue(&b, v, 0)
	return b.String()
}

func writeValue(b *strings.Builder, v cty.Value, indent int) {
	ty := v.Type()
	switch {
	case !v.IsKnown():
		b.WriteString("(known after apply)")
	case v.IsNull():
		b.WriteString("null")
	case ty == cty.String:
		writeString(b, v.AsString(), indent)
	case ty == cty.Number:
		b.WriteString(v.AsBigFloat().Text('f', -1))
	case ty == cty.Bool:
		fmt.Fprint(b, v.True())
	case ty.IsObjectType():
		writeMap(b, v, indent)
	case ty.IsMapType():
		b.WriteString("tomap(")
		writeMap(b, v, indent)
		b.WriteString(")")
	case ty.IsTupleType():
		writeList(b, v, indent)
	case ty.IsListType():
		b.WriteString("tolist(")
		writeList(b, v, indent)
		b.WriteString(")")
	case ty.IsSetType():
		b.WriteString("toset(")
		writeList(b, v, indent)
		b.WriteString(")")
	}
}

// writeString writes a text of several lines as a heredoc when it can be, as Terraform does.
func writeString(b *strings.Builder, s string, indent int) {
	const mark = "EOT"
	if !strings.Contains(s, "\n") || strings.Contains(s, "\n"+mark) || strings.ContainsAny(s, "\r\x1b") {
		b.WriteString(quote(s))
		return
	}
	b.WriteString("<<" + mark + "\n" + s)
	if !strings.HasSuffix(s, "\n") {
		b.WriteByte('\n')
	}
	b.WriteString(spaces(indent) + mark)
}

func writeMap(b *strings.Builder, v cty.Value, indent int) {
	elems := v.AsValueMap()
	if len(elems) == 0 {
		b.WriteString("{}")
		return
	}
	b.WriteString("{\n")
	for _, key := range slices.Sorted(maps.Keys(elems)) {
		b.WriteString(spaces(indent+2) + quote(key) + " = ")
		writeValue(b, elems[key], indent+2)
		b.WriteByte('\n')
	}
	b.WriteString(spaces(indent) + "}")
}

func writeList(b *strings.Builder, v cty.Value, indent int) {
	elems := v.AsValueSlice()
	if len(elems) == 0 {
		b.WriteString("[]")
		return
	}
	b.WriteString("[\n")
	for _, e := range elems {
		b.WriteString(spaces(indent + 2))
		writeValue(b, e, indent+2)
		b.WriteString(",\n")
	}
	b.WriteString(spaces(indent) + "]")
}

// outputJSON is one output in the format of `terraform output -json`.
type outputJSON struct {
	Sensitive bool            `json:"sensitive"`
	Type      json.RawMessage `json:"type"`
	Value     json.RawMessage `json:"value"`
}

// OutputsJSON returns all outputs as `terraform output -json` does, without those that are null.
func OutputsJSON(outputs []Output) ([]byte, error) {
	object := map[string]outputJSON{}
	for _, o := range outputs {
		if o.Value.IsNull() {
			continue
		}
		typ, err := ctyjson.MarshalType(o.Value.Type())
		if err != nil {
			return nil, fmt.Errorf("output %q cannot be written as JSON: %w", o.Name, err)
		}
		value, err := ValueJSON(o.Value)
		if err != nil {
			return nil, fmt.Errorf("output %q cannot be written as JSON: %w", o.Name, err)
		}
		object[o.Name] = outputJSON{Sensitive: o.Sensitive, Type: typ, Value: value}
	}
	return plainJSON(object)
}

// ValueJSON returns a known value as JSON.
func ValueJSON(v cty.Value) ([]byte, error) {
	return ctyjson.Marshal(v, v.Type())
}

// plainJSON marshals without the escapes that are meant for JSON inside HTML.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
