package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"berth/internal/module/desired"
	"berth/internal/module/live"
)

const stack = "stack:ecr"

func want(change func(*desired.Repository)) desired.Repository {
	r := desired.Repository{
		Name: "app", Mutability: "MUTABLE", ScanOnPush: true, EncryptionType: desired.AES256,
		Tags: map[string]string{"Env": "dev"}, Lifecycle: `{"rules":[]}`,
	}
	if change != nil {
		change(&r)
	}
	return r
}

func have(change func(*live.Repository)) live.Repository {
	r := live.Repository{
		Name: "app", ARN: "arn:aws:ecr:us-east-1:123456789012:repository/app", URI: "host/app", RegistryID: "123456789012",
		Mutability: "MUTABLE", ScanOnPush: true, EncryptionType: desired.AES256,
		Tags: map[string]string{"Env": "dev", desired.OwnerTag: stack}, Lifecycle: `{ "rules": [] }`,
	}
	if change != nil {
		change(&r)
	}
	return r
}

func moduleOf(repos []desired.Repository, rules ...desired.CacheRule) desired.Module {
	m := desired.Module{Address: "module.ecr", StackID: stack, Repositories: map[string]desired.Repository{}, CacheRules: map[string]desired.CacheRule{}}
	for _, r := range repos {
		m.Repositories[r.Name] = r
		m.ForceDelete = m.ForceDelete || r.ForceDelete
	}
	for _, r := range rules {
		m.CacheRules[r.Prefix] = r
	}
	return m
}

func stateOf(repos []live.Repository, rules ...desired.CacheRule) *live.State {
	s := &live.State{Repositories: map[string]live.Repository{}, CacheRules: map[string]desired.CacheRule{}}
	for _, r := range repos {
		s.Repositories[r.Name] = r
	}
	for _, r := range rules {
		s.CacheRules[r.Prefix] = r
	}
	return s
}

// summary writes the changes as ACTION TYPE[INDEX].
func summary(p *Plan) []string {
	var list []string
	for _, c := range p.Changes() {
		if c.Action != NoOp {
			list = append(list, strings.Join(c.Action.Verbs(), "+")+" "+strings.TrimPrefix(c.Type, "aws_ecr_")+"["+c.Index+"]")
		}
	}
	return list
}

func TestRepositoryChanges(t *testing.T) {
	one := func(w desired.Repository) []desired.Repository { return []desired.Repository{w} }
	exists := func(h live.Repository) []live.Repository { return []live.Repository{h} }
	for name, c := range map[string]struct {
		want     []desired.Repository
		have     []live.Repository
		changes  []string
		blockers int
	}{
		"creation":             {one(want(nil)), nil, []string{"create lifecycle_policy[app]", "create repository[app]"}, 0},
		"creation with policy": {one(want(func(r *desired.Repository) { r.Policy = `{"a":1}` })), nil, []string{"create lifecycle_policy[app]", "create repository[app]", "create repository_policy[app]"}, 0},
		"nothing":              {one(want(nil)), exists(have(nil)), nil, 0},
		"mutability":           {one(want(nil)), exists(have(func(r *live.Repository) { r.Mutability = "IMMUTABLE_WITH_EXCLUSION" })), []string{"update repository[app]"}, 0},
		"scan":                 {one(want(nil)), exists(have(func(r *live.Repository) { r.ScanOnPush = false })), []string{"update repository[app]"}, 0},
		"tag value":            {one(want(nil)), exists(have(func(r *live.Repository) { r.Tags["Env"] = "x" })), []string{"update repository[app]"}, 0},
		"surplus tag":          {one(want(nil)), exists(have(func(r *live.Repository) { r.Tags["x"] = "" })), []string{"update repository[app]"}, 0},
		"tag of AWS":           {one(want(nil)), exists(have(func(r *live.Repository) { r.Tags["aws:x"] = "y" })), nil, 0},
		"lifecycle":            {one(want(nil)), exists(have(func(r *live.Repository) { r.Lifecycle = `{"rules":[1]}` })), []string{"update lifecycle_policy[app]"}, 0},
		"lifecycle gone":       {one(want(nil)), exists(have(func(r *live.Repository) { r.Lifecycle = "" })), []string{"create lifecycle_policy[app]"}, 0},
		"policy added":         {one(want(func(r *desired.Repository) { r.Policy = `{"a":1}` })), exists(have(nil)), []string{"create repository_policy[app]"}, 0},
		"policy changed":       {one(want(func(r *desired.Repository) { r.Policy = `{"a":1}` })), exists(have(func(r *live.Repository) { r.Policy = `{"a":2}` })), []string{"update repository_policy[app]"}, 0},
		"policy removed":       {one(want(nil)), exists(have(func(r *live.Repository) { r.Policy = `{"a":2}` })), []string{"delete repository_policy[app]"}, 0},
		"encryption":           {one(want(func(r *desired.Repository) { r.EncryptionType = desired.KMS })), exists(have(func(r *live.Repository) { r.Policy = "{}" })), []string{"delete+create lifecycle_policy[app]", "delete+create repository[app]", "delete repository_policy[app]"}, 1},
		"encryption, full":     {one(want(func(r *desired.Repository) { r.EncryptionType = desired.KMS })), exists(have(func(r *live.Repository) { r.HasImages = true })), []string{"delete+create lifecycle_policy[app]", "delete+create repository[app]"}, 2},
		"managed key":          {one(want(func(r *desired.Repository) { r.EncryptionType = desired.KMS })), exists(have(func(r *live.Repository) { r.EncryptionType, r.KMSKey = desired.KMS, "arn:aws:kms:x:1:key/any" })), nil, 0},
		"removed":              {nil, exists(have(nil)), []string{"delete lifecycle_policy[app]", "delete repository[app]"}, 0},
		"removed, full":        {nil, exists(have(func(r *live.Repository) { r.HasImages = true })), []string{"delete lifecycle_policy[app]", "delete repository[app]"}, 1},
		"foreign":              {nil, exists(have(func(r *live.Repository) { r.Tags = nil })), nil, 0},
		"of another stack":     {nil, exists(have(func(r *live.Repository) { r.Tags[desired.OwnerTag] = "other:ecr" })), nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Build([]desired.Module{moduleOf(c.want)}, stateOf(c.have), Options{Stack: "stack"})
			if err != nil {
				t.Fatal(err)
			}
			if got := summary(p); !slices.Equal(got, c.changes) {
				t.Errorf("changes %q, want %q", got, c.changes)
			}
			if len(p.Blockers) != c.blockers {
				t.Errorf("blockers %q, want %d", p.Blockers, c.blockers)
			}
		})
	}
}

func TestReplacementNeedsAgreement(t *testing.T) {
	modules := []desired.Module{moduleOf([]desired.Repository{want(func(r *desired.Repository) { r.EncryptionType = desired.KMS; r.ForceDelete = true })})}
	state := stateOf([]live.Repository{have(func(r *live.Repository) { r.HasImages = true })})
	address := `module.ecr.aws_ecr_repository.this["app"]`
	p, err := Build(modules, state, Options{})
	if err != nil || len(p.Blockers) != 1 || !strings.Contains(p.Blockers[0], "--allow-replace '"+address+"'") {
		t.Fatalf("%q, %v", p.Blockers, err)
	}
	p, err = Build(modules, state, Options{AllowReplace: map[string]bool{address: true, "typo": true}})
	if err != nil || len(p.Blockers) != 0 {
		t.Fatalf("%q, %v", p.Blockers, err)
	}
	if len(p.Notes) != 1 || !strings.HasPrefix(p.Notes[0], "--allow-replace typo has no effect") {
		t.Errorf("notes %q", p.Notes)
	}
	if n := p.Counts(); n != (Counts{Add: 2, Destroy: 2}) {
		t.Errorf("counts %+v", n)
	}
	if !slices.Equal(p.Doomed(), []string{"app"}) {
		t.Errorf("doomed %q", p.Doomed())
	}
}

func TestForeignRepositories(t *testing.T) {
	modules := []desired.Module{moduleOf([]desired.Repository{want(nil), want(func(r *desired.Repository) { r.Name = "web" })})}
	state := stateOf([]live.Repository{
		have(func(r *live.Repository) { r.Tags = map[string]string{"Env": "dev"} }),
		have(func(r *live.Repository) { r.Name = "web"; r.Tags = map[string]string{desired.OwnerTag: "other:ecr"} }),
	})
	_, err := Build(modules, state, Options{Stack: "stack"})
	var foreign *ForeignError
	if !errors.As(err, &foreign) || len(foreign.Repositories) != 2 {
		t.Fatalf("error %v", err)
	}
	for _, part := range []string{`repository "app" exists but is not managed by stack "stack"`, `--adopt`, `pass --stack "other" if this configuration is that stack`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	p, err := Build(modules, state, Options{Stack: "stack", Adopt: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := summary(p); !slices.Equal(got, []string{"update repository[app]", "update repository[web]"}) {
		t.Errorf("adoption changes more than tags: %q", got)
	}
}

func TestDestroyTouchesOnlyWhatIsOwned(t *testing.T) {
	rule := desired.CacheRule{Prefix: "hub", UpstreamURL: "registry-1.docker.io"}
	other := desired.CacheRule{Prefix: "quay", UpstreamURL: "quay.io"}
	changed := desired.CacheRule{Prefix: "gcr", UpstreamURL: "gcr.io"}
	modules := []desired.Module{moduleOf([]desired.Repository{want(nil), want(func(r *desired.Repository) { r.Name = "foreign" })}, rule, changed)}
	changed.UpstreamURL = "mirror.gcr.io"
	state := stateOf([]live.Repository{
		have(nil),
		have(func(r *live.Repository) { r.Name = "removed" }),
		have(func(r *live.Repository) { r.Name = "foreign"; r.Tags = nil }),
		have(func(r *live.Repository) {
			r.Name = "unrelated"
			r.Tags = map[string]string{desired.OwnerTag: "other:ecr"}
		}),
	}, rule, other, changed)
	p, err := Build(modules, state, Options{Stack: "stack", Destroy: true})
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{
		"delete lifecycle_policy[app]", "delete lifecycle_policy[removed]", "delete pull_through_cache_rule[hub]",
		"delete repository[app]", "delete repository[removed]",
	}
	if got := summary(p); !slices.Equal(got, wanted) {
		t.Errorf("changes %q, want %q", got, wanted)
	}
	notes := strings.Join(p.Notes, "\n")
	for _, part := range []string{`repository "foreign" stays`, `rule "gcr" stays`, "stay as they are: quay"} {
		if !strings.Contains(notes, part) {
			t.Errorf("%q is not in %s", part, notes)
		}
	}
}

// A module block, or an instance of one, that is gone leaves nothing behind; a repository that another block names now
// moves there.
func TestBlocksThatAreGone(t *testing.T) {
	state := stateOf([]live.Repository{
		have(func(r *live.Repository) { r.Name = "moved"; r.Tags[desired.OwnerTag] = "stack:teams:blue" }),
		have(func(r *live.Repository) { r.Name = "old"; r.Tags[desired.OwnerTag] = "stack:teams:green" }),
		have(func(r *live.Repository) {
			r.Name = "older"
			r.Tags[desired.OwnerTag] = "stack:numbered:3"
			r.HasImages = true
		}),
		have(func(r *live.Repository) { r.Name = "near"; r.Tags[desired.OwnerTag] = "stack/other:ecr" }),
	})
	modules := []desired.Module{moduleOf([]desired.Repository{want(func(r *desired.Repository) { r.Name = "moved" })})}
	p, err := Build(modules, state, Options{Stack: "stack"})
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{
		"update repository[moved]", "delete lifecycle_policy[older]", "delete repository[older]",
		"delete lifecycle_policy[old]", "delete repository[old]",
	}
	if got := summary(p); !slices.Equal(got, wanted) {
		t.Errorf("changes %q, want %q", got, wanted)
	}
	if got := p.Changes()[3].Address(); got != `module.numbered[3].aws_ecr_repository.this["older"]` {
		t.Errorf("address %s", got)
	}
	if len(p.Blockers) != 1 || len(p.Notes) != 1 || p.Notes[0] != `repository "moved" moves from module.teams["blue"] to module.ecr` {
		t.Errorf("blockers %q, notes %q", p.Blockers, p.Notes)
	}
}

func TestCacheRuleChanges(t *testing.T) {
	base := desired.CacheRule{Prefix: "hub", UpstreamURL: "registry-1.docker.io"}
	with := func(change func(*desired.CacheRule)) desired.CacheRule {
		r := base
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		want, have desired.CacheRule
		action     Action
	}{
		"equal":              {base, base, NoOp},
		"scheme":             {base, with(func(r *desired.CacheRule) { r.UpstreamURL = "https://registry-1.docker.io" }), NoOp},
		"ROOT":               {base, with(func(r *desired.CacheRule) { r.UpstreamPrefix = "ROOT" }), NoOp},
		"upstream":           {base, with(func(r *desired.CacheRule) { r.UpstreamURL = "quay.io" }), Replace},
		"prefix":             {base, with(func(r *desired.CacheRule) { r.UpstreamPrefix = "library" }), Replace},
		"credential added":   {with(func(r *desired.CacheRule) { r.CredentialARN = "arn" }), base, Update},
		"credential changed": {with(func(r *desired.CacheRule) { r.CredentialARN = "arn" }), with(func(r *desired.CacheRule) { r.CredentialARN = "old" }), Update},
		"credential removed": {base, with(func(r *desired.CacheRule) { r.CredentialARN = "arn" }), Replace},
		"role removed":       {base, with(func(r *desired.CacheRule) { r.CustomRoleARN = "arn" }), Replace},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Build([]desired.Module{moduleOf(nil, c.want)}, stateOf(nil, c.have), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if got := p.CacheRules[0].Rule.Action; got != c.action {
				t.Errorf("action %v, want %v", got, c.action)
			}
			if blocked := len(p.Blockers) > 0; blocked != (c.action == Replace) {
				t.Errorf("blockers %q", p.Blockers)
			}
		})
	}
}

func TestSameEncryption(t *testing.T) {
	key := func(k string) string { return "arn:aws:kms:us-east-1:123456789012:" + k }
	for name, c := range map[string]struct {
		wantType, wantKey, haveType, haveKey string
		same                                 bool
	}{
		"AES256":           {"AES256", "", "AES256", "", true},
		"type":             {"AES256", "", "KMS", key("key/a"), false},
		"dual layer":       {"KMS", key("key/a"), "KMS_DSSE", key("key/a"), false},
		"same key":         {"KMS", key("key/a"), "KMS", key("key/a"), true},
		"another key":      {"KMS", key("key/a"), "KMS", key("key/b"), false},
		"alias and key":    {"KMS", key("alias/a"), "KMS", key("key/b"), true},
		"another alias":    {"KMS", key("alias/a"), "KMS", key("alias/b"), false},
		"any managed key":  {"KMS", "", "KMS", key("key/b"), true},
		"no key, but type": {"KMS", "", "AES256", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := desired.Repository{EncryptionType: c.wantType, KMSKey: c.wantKey}
			h := live.Repository{EncryptionType: c.haveType, KMSKey: c.haveKey}
			if got := SameEncryption(w, h); got != c.same {
				t.Errorf("got %v", got)
			}
		})
	}
}
