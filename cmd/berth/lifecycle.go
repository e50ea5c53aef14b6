package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/spf13/cobra"

	"berth/internal/lifecycle"
)

// newLifecycleCommand is `berth lifecycle`: what lifecycle policies do.
func newLifecycleCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lifecycle",
		Short: "See what lifecycle policies do to images, or let them do it now",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLifecyclePreviewCommand(env), newLifecycleRunCommand(env), newLifecycleRunsCommand(env))
	return cmd
}

// previewFlags are the question of lifecycle preview.
type previewFlags struct {
	registryFlags
	policy, at string
}

func newLifecyclePreviewCommand(env *environment) *cobra.Command {
	var f previewFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "preview REPOSITORY",
		Short: "Show which images a lifecycle policy would delete or archive, and by which rule",
		Long: `Asks the registry, Berth or Amazon ECR, for a preview of the repository's policy, or of the one in --policy. Nothing is
deleted. The registry keeps the last preview of each repository; this one takes its place.

With --at the images of now are evaluated here as if it were that time and nothing were pushed or pulled until then, and
the days until then on which images would go are listed. What indexes list is not known here: images that an index keeps
are among the results.`,
		Example: `  berth lifecycle preview flowise-server
  berth lifecycle preview flowise-server --policy policy.json --at 2027-01-31
  berth lifecycle preview flowise-server --at +30d --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := f.preview(cmd.Context(), env, args[0], time.Now())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(env.stdout, p)
			}
			return printAll(env.stdout, "", p.text())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.policy, "policy", "", "`FILE` with the policy (default: that of the repository)")
	flags.StringVar(&f.at, "at", "", "`TIME` to look at, as 2027-01-31, 2027-01-31T12:00:00Z or +30d (default: now, by the registry)")
	f.register(cmd)
	flags.BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// A previewReport is what lifecycle preview prints.
type previewReport struct {
	Repository string         `json:"repository"`
	At         time.Time      `json:"at"`
	Images     []previewImage `json:"images"`
	Timeline   []previewDay   `json:"timeline,omitempty"` // with --at
}

// A previewImage is an image that a rule acts on.
type previewImage struct {
	Digest   string    `json:"digest"`
	Tags     []string  `json:"tags"`
	PushedAt time.Time `json:"pushedAt"`
	Action   string    `json:"action"` // EXPIRE or TRANSITION
	Rule     int       `json:"rulePriority"`
	Reason   string    `json:"reason,omitempty"` // with --at
}

// A previewDay is a day by which more images go than by the one before.
type previewDay struct {
	At     time.Time `json:"at"`
	Images int       `json:"images"` // in all
}

func (f previewFlags) preview(ctx context.Context, env *environment, repository string, now time.Time) (previewReport, error) {
	var policy string
	if f.policy != "" {
		b, err := os.ReadFile(pathIn(env, f.policy))
		if err != nil {
			return previewReport{}, fmt.Errorf("read the lifecycle policy: %w", err)
		}
		policy = string(b)
	}
	at, err := parseMoment(f.at, now)
	if err != nil {
		return previewReport{}, err
	}
	client, err := f.client(ctx)
	if err != nil {
		return previewReport{}, err
	}
	if f.at == "" {
		return askPreview(ctx, client, repository, policy, now)
	}
	return previewAt(ctx, client, repository, policy, now, at)
}

// parseMoment reads a day, a time, or a number of days from now; none is now.
func parseMoment(text string, now time.Time) (time.Time, error) {
	var days int
	if n, err := fmt.Sscanf(text, "+%dd", &days); err == nil && n == 1 && text == fmt.Sprintf("+%dd", days) {
		return now.AddDate(0, 0, days), nil
	}
	if text == "" {
		return now, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("--at %q is not a time: write 2027-01-31, 2027-01-31T12:00:00Z or +30d", text)
}

// previewPatience is how long a registry may compute: AWS answers within a minute or so.
const previewPatience = 10 * time.Minute

// askPreview lets the registry compute.
func askPreview(ctx context.Context, client *ecr.Client, repository, policy string, now time.Time) (previewReport, error) {
	out := previewReport{Repository: repository, At: now.UTC(), Images: []previewImage{}}
	in := &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: &repository}
	if policy != "" {
		in.LifecyclePolicyText = &policy
	}
	if _, err := client.StartLifecyclePolicyPreview(ctx, in); err != nil {
		return out, fmt.Errorf("start the preview of %s: %w", repository, err)
	}
	question := &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: &repository}
	if err := ecr.NewLifecyclePolicyPreviewCompleteWaiter(client).Wait(ctx, question, previewPatience); err != nil {
		return out, fmt.Errorf("wait for the preview of %s: %w", repository, err)
	}
	pages := ecr.NewGetLifecyclePolicyPreviewPaginator(client, question)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return out, fmt.Errorf("read the preview of %s: %w", repository, err)
		}
		for _, r := range page.PreviewResults {
			i := previewImage{Digest: aws.ToString(r.ImageDigest), Tags: r.ImageTags, PushedAt: aws.ToTime(r.ImagePushedAt), Rule: int(aws.ToInt32(r.AppliedRulePriority))}
			if r.Action != nil {
				i.Action = string(r.Action.Type)
			}
			out.Images = append(out.Images, i)
		}
	}
	return out, nil
}

// previewAt evaluates the images of now at another time.
func previewAt(ctx context.Context, client *ecr.Client, repository, text string, now, at time.Time) (previewReport, error) {
	out := previewReport{Repository: repository, At: at.UTC(), Images: []previewImage{}}
	if text == "" {
		got, err := client.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &repository})
		if err != nil {
			return out, fmt.Errorf("read the lifecycle policy of %s: %w", repository, err)
		}
		text = aws.ToString(got.LifecyclePolicyText)
	}
	policy, err := lifecycle.Parse(text)
	if err != nil {
		return out, err
	}
	images, err := describeAll(ctx, client, repository)
	if err != nil {
		return out, err
	}
	e := lifecycle.Evaluate(*policy, images, at)
	add := func(image int, rule *lifecycle.Rule, reason string) {
		i := images[image]
		out.Images = append(out.Images, previewImage{i.Digest, i.Tags, i.PushedAt, strings.ToUpper(string(rule.Action.Type)), rule.Priority, reason})
	}
	rules := map[int]*lifecycle.Rule{}
	for _, a := range e.Acts {
		rules[a.Image] = &policy.Rules[a.Rule]
		add(a.Image, rules[a.Image], e.Explain(a.Image).Reason)
	}
	for _, f := range e.Followings { // each after its subject
		rules[f.Image] = rules[f.Subject]
		add(f.Image, rules[f.Image], "it refers to "+images[f.Subject].Digest)
	}
	out.Timeline = timeline(*policy, images, now, at)
	return out, nil
}

// timeline says how many images go in all by each day on which more go.
func timeline(policy lifecycle.Policy, images []lifecycle.Image, now, at time.Time) (out []previewDay) {
	last := 0
	for day := now; !day.After(at); day = day.AddDate(0, 0, 1) {
		e := lifecycle.Evaluate(policy, images, day)
		if n := len(e.Acts) + len(e.Followings); n > last {
			out, last = append(out, previewDay{day.UTC(), n}), n
		}
	}
	return out
}

// describeAll reads the images of a repository, whatever their status is.
func describeAll(ctx context.Context, client *ecr.Client, repository string) (out []lifecycle.Image, err error) {
	pages := ecr.NewDescribeImagesPaginator(client, &ecr.DescribeImagesInput{
		RepositoryName: &repository, Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny}, MaxResults: aws.Int32(1000),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the images of %s: %w", repository, err)
		}
		for _, d := range page.ImageDetails {
			out = append(out, lifecycleImage(d))
		}
	}
	return out, nil
}

// lifecycleImage is what a policy looks at in an image, without what it lists.
func lifecycleImage(d types.ImageDetail) lifecycle.Image {
	i := lifecycle.Image{
		Digest: aws.ToString(d.ImageDigest), Tags: d.ImageTags, PushedAt: aws.ToTime(d.ImagePushedAt), PulledAt: aws.ToTime(d.LastRecordedPullTime),
		ArchivedAt: aws.ToTime(d.LastArchivedAt), ActivatedAt: aws.ToTime(d.LastActivatedAt), Subject: aws.ToString(d.SubjectManifestDigest),
	}
	switch d.ImageStatus {
	case types.ImageStatusArchived:
		i.State = lifecycle.Archived
	case types.ImageStatusActivating:
		i.State = lifecycle.Activating
	case types.ImageStatusActive:
	}
	return i
}

// text is the report as a table and a timeline.
func (p previewReport) text() []string {
	lines := []string{fmt.Sprintf("%s at %s: %d images would go", p.Repository, p.At.Format(time.RFC3339), len(p.Images))}
	if len(p.Images) > 0 {
		lines = append(lines, fmt.Sprintf("%-10s  %4s  %-20s  %-19s  %s", "ACTION", "RULE", "PUSHED", "DIGEST", "TAGS"))
	}
	for _, i := range p.Images {
		digest := i.Digest[:min(len(i.Digest), 19)]
		line := fmt.Sprintf("%-10s  %4d  %-20s  %-19s  %s", i.Action, i.Rule, i.PushedAt.UTC().Format(time.RFC3339), digest, cmp.Or(strings.Join(i.Tags, " "), "-"))
		if i.Reason != "" {
			line += "  (" + i.Reason + ")"
		}
		lines = append(lines, line)
	}
	for _, d := range p.Timeline {
		lines = append(lines, fmt.Sprintf("by %s  %d images", d.At.Format(time.DateOnly), d.Images))
	}
	return lines
}
