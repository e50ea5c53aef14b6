package manifest_test

import (
	"errors"
	"strings"
	"testing"

	"berth/internal/manifest"
)

const (
	oci   = "application/vnd.oci.image.manifest.v1+json"
	index = "application/vnd.oci.image.index.v1+json"
	d1    = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	d2    = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

func desc(mt, digest string) string {
	return `{"mediaType":"` + mt + `","digest":"` + digest + `","size":2}`
}

func TestParse(t *testing.T) {
	image := `{"schemaVersion":2,"mediaType":"` + oci + `","config":` + desc("c", d1) + `,"layers":[` + desc("l", d2) + `,` + desc("l", d2) + `]}`
	m, err := manifest.Parse(oci, []byte(image))
	if err != nil {
		t.Fatal(err)
	}
	if m.ArtifactType != "c" || len(m.Blobs()) != 2 {
		t.Errorf("parsed to %+v", m)
	}
	m, err = manifest.Parse("", []byte(`{"schemaVersion":2,"mediaType":"`+index+`","manifests":[`+desc(oci, d1)+`],"subject":`+desc(oci, d2)+`,"artifactType":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	if m.Kind != manifest.Index || len(m.Children) != 1 || m.Subject == nil || m.ArtifactType != "a" {
		t.Errorf("parsed to %+v", m)
	}
}

func TestParseExternalLayers(t *testing.T) {
	foreign := `{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"` + d2 + `","size":9,"urls":["https://example.com/l"]}`
	m, err := manifest.Parse(oci, []byte(`{"schemaVersion":2,"config":`+desc("c", d1)+`,"layers":[`+foreign+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Blobs()) != 1 {
		t.Errorf("a foreign layer counts as ours: %v", m.Blobs())
	}
}

func TestParseRefuses(t *testing.T) {
	cfg, layers := `"config":`+desc("c", d1), `"layers":[]`
	for name, c := range map[string]struct {
		mediaType, body string
		want            error
	}{
		"not json":                    {oci, `{`, manifest.ErrSyntax},
		"wrong type":                  {oci, `{"schemaVersion":"2"}`, manifest.ErrSyntax},
		"array":                       {oci, `[]`, manifest.ErrSyntax},
		"no media type":               {"", `{"schemaVersion":2,` + cfg + `,` + layers + `}`, manifest.ErrMediaType},
		"unknown media type":          {"application/json", `{"schemaVersion":2}`, manifest.ErrMediaType},
		"schema 1":                    {oci, `{"schemaVersion":1,` + cfg + `,` + layers + `}`, manifest.ErrSyntax},
		"CVE-2021-41190 both":         {oci, `{"schemaVersion":2,` + cfg + `,` + layers + `,"manifests":[]}`, manifest.ErrSyntax},
		"CVE-2021-41190 index":        {index, `{"schemaVersion":2,` + layers + `,"manifests":[]}`, manifest.ErrSyntax},
		"CVE-2021-41190 type differs": {index, `{"schemaVersion":2,"mediaType":"` + oci + `","manifests":[]}`, manifest.ErrSyntax},
		"no config":                   {oci, `{"schemaVersion":2,` + layers + `}`, manifest.ErrSyntax},
		"no layers":                   {oci, `{"schemaVersion":2,` + cfg + `}`, manifest.ErrSyntax},
		"no manifests":                {index, `{"schemaVersion":2}`, manifest.ErrSyntax},
		"bad digest":                  {oci, `{"schemaVersion":2,"config":` + desc("c", "sha256:zz") + `,` + layers + `}`, manifest.ErrSyntax},
		"path in digest":              {oci, `{"schemaVersion":2,"config":` + desc("c", "sha256:../../../etc/passwd") + `,` + layers + `}`, manifest.ErrSyntax},
		"unsupported algorithm":       {oci, `{"schemaVersion":2,"config":` + desc("c", "md5:d41d8cd98f00b204e9800998ecf8427e") + `,` + layers + `}`, manifest.ErrSyntax},
		"negative size":               {oci, `{"schemaVersion":2,"config":{"digest":"` + d1 + `","size":-1},` + layers + `}`, manifest.ErrSyntax},
		"too large":                   {oci, strings.Repeat(" ", manifest.MaxSize+1), manifest.ErrSyntax},
	} {
		if _, err := manifest.Parse(c.mediaType, []byte(c.body)); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(oci, []byte(`{"schemaVersion":2,"config":`+desc("c", d1)+`,"layers":[`+desc("l", d2)+`]}`))
	f.Add(index, []byte(`{"schemaVersion":2,"manifests":[`+desc(oci, d1)+`]}`))
	f.Add("", []byte(`{"schemaVersion":2,"mediaType":"x","subject":null}`))
	f.Fuzz(func(t *testing.T, mediaType string, body []byte) {
		m, err := manifest.Parse(mediaType, body)
		if err != nil {
			return
		}
		for _, d := range append(m.Blobs(), m.Children...) {
			if err := manifest.ValidateDigest(d.Digest); err != nil {
				t.Errorf("accepted %v", err)
			}
		}
	})
}
