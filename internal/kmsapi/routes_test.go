package kmsapi

import "testing"

func TestInvariant06_RouteWithoutOperationRefusesToStart(t *testing.T) {
	if table, err := index(routes()); err != nil || len(table) != len(routes()) {
		t.Fatal(err)
	}
	for name, bad := range map[string]route{
		"no name": {decode: listKeys}, "no code": {operation: "ListGrants"}, "twice": {operation: "ListKeys", decode: listKeys},
		"not a name": {operation: "kms:ListGrants", decode: listKeys},
	} {
		if _, err := index(append(routes(), bad)); err == nil {
			t.Errorf("%s: the door is made", name)
		}
	}
}
