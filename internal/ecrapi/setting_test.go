package ecrapi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestAccountSettingsOfTheAPI(t *testing.T) {
	c := newClient(t)
	get := func(c *client, name string) string {
		out := c.call("GetAccountSetting", `{"name":"`+name+`"}`).ok()
		return fmt.Sprint(out["name"], " ", out["value"])
	}
	for name, value := range map[string]string{"BASIC_SCAN_TYPE_VERSION": "AWS_NATIVE", "REGISTRY_POLICY_SCOPE": "V2", "BLOB_MOUNTING": "ENABLED"} {
		if got := get(c, name); got != name+" "+value {
			t.Errorf("the default is %s", got)
		}
		c.call("PutAccountSetting", `{"name":"`+name+`","value":"`+value+`"}`).ok()
		c.call("PutAccountSetting", `{"name":"`+name+`","value":"OTHER"}`).refused(400, "InvalidParameterException",
			"Invalid parameter at 'value' failed to satisfy constraint: 'Member must satisfy enum value set: [")
	}
	for _, operation := range []string{"GetAccountSetting", "PutAccountSetting"} {
		c.call(operation, `{"name":"blob_mounting","value":"ENABLED"}`).refused(400, "InvalidParameterException",
			"Invalid parameter at 'name' failed to satisfy constraint: 'Member must satisfy enum value set: [BASIC_SCAN_TYPE_VERSION, REGISTRY_POLICY_SCOPE, BLOB_MOUNTING]'")
	}
	out := c.call("PutAccountSetting", `{"name":"BLOB_MOUNTING","value":"DISABLED"}`).ok()
	if out["name"] != "BLOB_MOUNTING" || out["value"] != "DISABLED" || get(c, "BLOB_MOUNTING") != "BLOB_MOUNTING DISABLED" {
		t.Errorf("put %v, then there is %s", out, get(c, "BLOB_MOUNTING"))
	}
	if got := get(c.in("us-west-2"), "BLOB_MOUNTING"); got != "BLOB_MOUNTING ENABLED" {
		t.Errorf("another region has %s", got)
	}
}

// With BLOB_MOUNTING off a mount begins an ordinary upload.
func TestBlobMountingDecides(t *testing.T) {
	c := newClient(t)
	c.create("from", "to")
	const layer = "a layer"
	d := digest.FromString(layer)
	post := func(query, body string) int {
		req, err := http.NewRequest("POST", c.Endpoint+"/v2/"+query, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(c.Login())
		return c.send(req).status
	}
	if got := post("from/blobs/uploads/?digest="+d.String(), layer); got != 201 {
		t.Fatalf("push a layer: %d", got)
	}
	for _, step := range []struct {
		value string
		want  int
	}{{"DISABLED", 202}, {"ENABLED", 201}} {
		c.call("PutAccountSetting", `{"name":"BLOB_MOUNTING","value":"`+step.value+`"}`).ok()
		for _, query := range []string{"&from=from", ""} {
			if got := post("to/blobs/uploads/?mount="+d.String()+query, ""); got != step.want {
				t.Errorf("%s: a mount%s answers %d, want %d", step.value, query, got, step.want)
			}
		}
	}
}
