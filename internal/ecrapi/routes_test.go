package ecrapi

import "testing"

func TestInvariant06_RouteWithoutOperationRefusesToStart(t *testing.T) {
	for name, rt := range map[string]route{
		"":                 {onRepository, routes()["PutImage"].handle, ""},
		"DropEverything":   {onRepository, routes()["PutImage"].handle, ""},
		"PutImage":         {nil, routes()["PutImage"].handle, ""}, // nobody could say on what
		"BatchGetImage":    {onRepository, nil, ""},
		"ecr:ListImages":   {onRepository, routes()["PutImage"].handle, ""},
		"ListImages":       {onRepository, routes()["PutImage"].handle, "ReadEverything"},
		"describeRegistry": {onRegistry, routes()["PutImage"].handle, ""},
	} {
		spoilt := routes()
		spoilt[name] = rt
		if err := checkRoutes(spoilt); err == nil {
			t.Errorf("route %q was accepted", name)
		}
	}
	if err := checkRoutes(routes()); err != nil {
		t.Error(err)
	}
}
