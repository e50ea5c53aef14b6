package ecr_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	. "berth/internal/ecr"
	"berth/internal/ecr/ecrtest"
)

// FuzzDecode feeds any body to any operation. Nothing panics, every refusal is one of the two errors, and an input that
// was accepted is accepted again after encoding, with the same meaning.
func FuzzDecode(f *testing.F) {
	ops := Operations()
	for i, op := range ops {
		f.Add(uint8(i), ecrtest.JSON(f, op.Input, true))
		f.Add(uint8(i), ecrtest.JSON(f, op.Input, false))
	}
	f.Add(uint8(0), []byte(`{"repositoryName":"a\ud800b","layerDigests":[null]}`))
	f.Fuzz(func(t *testing.T, index uint8, body []byte) {
		op := ops[int(index)%len(ops)]
		input, err := op.Decode(body)
		if err != nil {
			var se *SerializationError
			var ce *ConstraintError
			if input != nil || !errors.As(err, &se) && !errors.As(err, &ce) || err.Error() == "" {
				t.Fatalf("%s gives %v and %v", op.Name, input, err)
			}
			return
		}
		text, err := Encode(input)
		if err != nil {
			t.Fatal(err)
		}
		again, err := op.Decode(text)
		if err != nil || !reflect.DeepEqual(input, again) {
			t.Fatalf("%s: %s was accepted, its encoding %s gives %+v, %v", op.Name, body, text, again, err)
		}
	})
}

// FuzzSyntax compares the parser with encoding/json: both accept the same texts, but for what this parser refuses on
// purpose (strings that are not UTF-8, deep nesting).
func FuzzSyntax(f *testing.F) {
	for _, s := range []string{`{}`, `[1,-0,1.5e-7,"a\u00e9\n",true,false,null,{"a":{}}]`, `[01]`, `[1.]`, `[,]`, `{"a"}`, `"\ud800"`,
		`"12345678"`, `"1234567\u0000"`, "\"12345\x0178\"", `"é"`, " \t\r\n[ 1 , 2 ] ", `-`, `tru`, `"`, "", `[]]`, "{\"a\":\x00}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		err := Syntax(text)
		if valid := json.Valid(text) && utf8.Valid(text); valid != (err == nil) {
			if err != nil && strings.Contains(err.Error(), "levels deep") {
				return
			}
			t.Fatalf("%q: encoding/json says %t, we say %v", text, valid, err)
		}
	})
}
