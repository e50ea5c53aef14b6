package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// errors writes the codes of the modelled exceptions and their HTTP statuses.
func (g *generator) errors(b *bytes.Buffer) error {
	byStatus := map[int][]string{}
	b.WriteString("// Codes of the exceptions that the service model defines.\nconst (\n")
	for _, name := range slices.Sorted(maps.Keys(g.model.Shapes)) {
		s := g.model.Shapes[name]
		if !s.Exception {
			continue
		}
		fmt.Fprintf(b, "%s = %q\n", codeName(name), name)
		byStatus[s.Status] = append(byStatus[s.Status], codeName(name))
	}
	b.WriteString(")\n\n// modelledStatus returns the HTTP status of an exception of the service model.\n")
	b.WriteString("func modelledStatus(code string) (status int, ok bool) {\nswitch code {\n")
	for _, status := range slices.Sorted(maps.Keys(byStatus)) {
		fmt.Fprintf(b, "case %s:\nreturn %d, true\n", strings.Join(byStatus[status], ",\n"), status)
	}
	b.WriteString("}\nreturn 0, false\n}\n")
	return nil
}

func codeName(exception string) string {
	return "Code" + strings.TrimSuffix(exception, "Exception")
}

// operations writes the table of operations, sorted by name.
func (g *generator) operations(b *bytes.Buffer) error {
	m := g.model
	fmt.Fprintf(b, "// TargetPrefix comes before the operation name in the X-Amz-Target header, with a dot between them.\n")
	fmt.Fprintf(b, "const TargetPrefix = %q\n\n// APIVersion is the version of the service model.\nconst APIVersion = %q\n\n", m.TargetPrefix, m.APIVersion)
	b.WriteString("// operations holds every operation, sorted by name; it is never written to.\nvar operations = []*Operation{\n")
	for _, op := range m.Operations {
		fmt.Fprintf(b, "{\nName: %q,\nNewInput: func() any { return new(%s) },\nNewOutput: func() any { return new(%s) },\n",
			op.Name, structName(op.Input), structName(op.Output))
		fmt.Fprintf(b, "Input: %s,\nOutput: %s,\n", shapeVar(op.Input), shapeVar(op.Output))
		if len(op.Errors) > 0 {
			codes := make([]string, len(op.Errors))
			for i, e := range op.Errors {
				codes[i] = codeName(e)
			}
			fmt.Fprintf(b, "Errors: []string{\n%s,\n},\n", strings.Join(codes, ",\n"))
		}
		b.WriteString("},\n")
	}
	b.WriteString("}\n")
	return nil
}

// kinds maps the model's types to the constants of ecr.Kind.
var kinds = map[string]string{
	"structure": "KindStructure", "list": "KindList", "map": "KindMap", "string": "KindString", "blob": "KindBlob",
	"integer": "KindInteger", "long": "KindLong", "double": "KindDouble", "boolean": "KindBoolean", "timestamp": "KindTimestamp",
}

// shapes writes the table of constraints, one variable per shape.
func (g *generator) shapes(b *bytes.Buffer) error {
	b.WriteString("// The shapes of the service model, sorted by name; they are never written to.\nvar (\n")
	for _, name := range g.names {
		s := g.model.Shapes[name]
		kind, ok := kinds[s.Type]
		if !ok {
			return fmt.Errorf("shape %s has unknown type %q", name, s.Type)
		}
		fmt.Fprintf(b, "%s = &Shape{\nName: %q,\nKind: %s,\n", shapeVar(name), name, kind)
		bound(b, "Min", s.Min)
		bound(b, "Max", s.Max)
		if s.Pattern != "" {
			fmt.Fprintf(b, "Pattern: newPattern(%s),\n", quote(s.Pattern))
		}
		if len(s.Enum) > 0 {
			fmt.Fprintf(b, "Enum: %#v,\n", s.Enum)
		}
		for _, ref := range []struct{ field, shape string }{{"Elem", s.Member}, {"Key", s.Key}, {"Elem", s.Value}} {
			if ref.shape != "" {
				fmt.Fprintf(b, "%s: %s,\n", ref.field, shapeVar(ref.shape))
			}
		}
		if len(s.Members) > 0 {
			b.WriteString("Members: []Member{\n")
			for _, m := range s.Members {
				required := ""
				if m.Required {
					required = ", Required: true"
				}
				fmt.Fprintf(b, "{Name: %q, Shape: %s%s},\n", m.Name, shapeVar(m.Shape), required)
			}
			b.WriteString("},\n")
		}
		b.WriteString("}\n")
	}
	b.WriteString(")\n")
	return nil
}

func bound(b *bytes.Buffer, field string, v *int64) {
	if v != nil {
		fmt.Fprintf(b, "%s: new(int64(%d)),\n", field, *v)
	}
}

func shapeVar(name string) string { return "shape" + name }

// quote writes a pattern as a raw string where it can, since patterns are full of backslashes.
func quote(s string) string {
	if strings.Contains(s, "`") {
		return fmt.Sprintf("%q", s)
	}
	return "`" + s + "`"
}
