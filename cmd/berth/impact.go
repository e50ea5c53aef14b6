package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/spf13/pflag"

	"berth/internal/cost"
	"berth/internal/impact"
	"berth/internal/module"
)

// impactFlags say what a plan may do to images.
type impactFlags struct {
	maxExpire, inUse string
	protect, skip    bool
}

func (f *impactFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.maxExpire, "max-expire", "", "refuse when a repository would lose more images than `N|N%`, by a new lifecycle policy or with the repository")
	flags.StringVar(&f.inUse, "in-use", "", "`FILE` that names images which something runs, one on each line, or the output of kubectl get pods -A -o json; - is standard input")
	flags.BoolVar(&f.protect, "protect-in-use", false, "refuse when images of --in-use would go or be archived")
	flags.BoolVar(&f.skip, "no-impact", false, "do not find out what happens to images")
}

// check computes and shows what a plan does to images, and returns why it must not be carried out. Without limits, a
// registry that does not tell is worth a warning only.
func (f *impactFlags) check(ctx context.Context, env *environment, c *module.Client, p *module.Plan, out io.Writer) (*impact.Report, error) {
	var limit *impact.Limit
	var err error
	if f.maxExpire != "" {
		if limit, err = impact.ParseLimit(f.maxExpire); err != nil {
			return nil, fmt.Errorf("--max-expire: %w", err)
		}
	}
	if f.protect && f.inUse == "" {
		return nil, errors.New("--protect-in-use needs --in-use FILE, which names the images in use")
	}
	if f.skip && (limit != nil || f.protect) {
		return nil, errors.New("--no-impact leaves nothing that --max-expire and --protect-in-use could judge: use one or the other")
	}
	running, err := f.references(env)
	stakes := stakesOf(p)
	if err != nil || f.skip || len(stakes) == 0 {
		return nil, err
	}
	report, err := impactOf(ctx, c.ECR(), stakes, running)
	switch {
	case err != nil && (limit != nil || f.protect):
		return nil, fmt.Errorf("the impact on images cannot be judged: %w", err)
	case err != nil:
		return nil, printAll(env.stderr, "Warning: ", []string{fmt.Sprintf("the impact on images is not known: %v", err)})
	}
	if err := printAll(out, "", impactText(report)); err != nil {
		return nil, err
	}
	reasons := limit.Exceeded(report)
	if f.protect {
		reasons = append(reasons, report.Running()...)
	}
	if len(reasons) > 0 {
		return nil, errors.New(strings.Join(reasons, "\n"))
	}
	return &report, nil
}

func (f *impactFlags) references(env *environment) ([]impact.Reference, error) {
	if f.inUse == "" {
		return nil, nil
	}
	var text []byte
	var err error
	if f.inUse == "-" {
		text, err = io.ReadAll(env.stdin)
	} else {
		text, err = os.ReadFile(pathIn(env, f.inUse))
	}
	if err != nil {
		return nil, fmt.Errorf("read the images in use: %w", err)
	}
	out, err := impact.ParseInUse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.inUse, err)
	}
	return out, nil
}

func stakesOf(p *module.Plan) map[string]*impact.Stake {
	out := map[string]*impact.Stake{}
	for _, s := range p.Stakes() {
		host, _, _ := strings.Cut(s.URI, "/")
		out[s.Repository] = &impact.Stake{Name: s.Repository, Host: host, Deleted: s.Deleted, Policy: s.Lifecycle}
	}
	return out
}

// impactOf asks the registry what new policies would do, and reads all images, as what is freed depends on what other
// images share.
func impactOf(ctx context.Context, client *ecr.Client, stakes map[string]*impact.Stake, running []impact.Reference) (impact.Report, error) {
	b := impact.Builder{Prices: cost.DefaultPrices(), InUse: running}
	acts := map[string]map[string]impact.Act{}
	affected := false
	for name, s := range stakes {
		if s.Deleted {
			affected = true
			continue
		}
		preview, err := askPreview(ctx, client, name, s.Policy, time.Now())
		if err != nil {
			return impact.Report{}, err
		}
		acts[name] = map[string]impact.Act{}
		for _, i := range preview.Images {
			fate := cost.Goes
			if i.Action == "TRANSITION" {
				fate = cost.Moves
			}
			acts[name][i.Digest] = impact.Act{Fate: fate, Rule: i.Rule}
			affected = true
		}
	}
	// When nothing goes, nothing is freed, whatever other repositories share.
	for name, err := range repositoryNames(ctx, client) {
		if err != nil {
			return impact.Report{}, err
		}
		if !affected && stakes[name] == nil {
			continue
		}
		images, manifests, err := readImages(ctx, client, name)
		if err != nil {
			return impact.Report{}, err
		}
		counted := costImages(images, manifests)
		tagged := make([]impact.Image, len(images))
		for n := range images {
			tagged[n] = impact.Image{Image: counted[n], Tags: images[n].Tags}
		}
		b.Add(name, stakes[name], tagged, acts[name])
	}
	return b.Report(), nil
}

// impactText is the report for people.
func impactText(r impact.Report) (out []string) {
	if len(r.Repositories) == 0 {
		return nil // no image is in them
	}
	out = append(out, "", "Images at stake:")
	for _, one := range r.Repositories {
		var what []string
		for _, rule := range one.Rules() {
			if rule == 0 {
				what = append(what, fmt.Sprintf("%d go with the repository", one.Expired[rule]))
			} else {
				what = append(what, fmt.Sprintf("%d expire by rule %d", one.Expired[rule], rule))
			}
		}
		if one.Moved > 0 {
			what = append(what, fmt.Sprintf("%d move to the archive", one.Moved))
		}
		what = append(what, fmt.Sprintf("%d stay", one.Images-one.Gone()-one.Moved))
		out = append(out, fmt.Sprintf("  %s: of %d images %s", one.Name, one.Images, strings.Join(what, ", ")),
			fmt.Sprintf("    %s logical, %s really freed; $%.2f -> $%.2f a month", size(one.Logical), size(one.Freed), one.Before, one.After))
		if len(one.Tags) > 0 {
			out = append(out, "    tags that go: "+shortList(one.Tags))
		}
		if len(one.InUse) > 0 {
			out = append(out, "    IN USE: "+strings.Join(one.InUse, ", "))
		}
	}
	return append(out, fmt.Sprintf("  in all %s logical, %s really freed; $%.2f -> $%.2f a month for the registry", size(r.Logical), size(r.Freed), r.Before, r.After))
}

// shortList names what a line has room for.
func shortList(list []string) string {
	const most = 20
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// planJSON is a plan with its impact, as one more member than terraform show -json has.
func planJSON(p *module.Plan, report *impact.Report) (json.RawMessage, error) {
	text, err := json.Marshal(p)
	if err != nil || report == nil {
		return text, err
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	if members["impact"], err = json.Marshal(report); err != nil {
		return nil, err
	}
	return json.Marshal(members)
}
