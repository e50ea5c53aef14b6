package ecrapi

import "testing"

func TestInvariant06_RouteWithoutOperationRefusesToStart(t *testing.T) {
	for name, rt := range map[string]route{
		"":                 {locate: onRepository, handle: routes()["PutImage"].handle},
		"DropEverything":   {locate: onRepository, handle: routes()["PutImage"].handle},
		"PutImage":         {locate: nil, handle: routes()["PutImage"].handle}, // nobody could say on what
		"BatchGetImage":    {locate: onRepository, handle: nil},
		"ecr:ListImages":   {locate: onRepository, handle: routes()["PutImage"].handle},
		"ListImages":       {locate: onRepository, handle: routes()["PutImage"].handle, action: "ReadEverything"},
		"describeRegistry": {locate: onRegistry, handle: routes()["PutImage"].handle},
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
