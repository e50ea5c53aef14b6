package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"
)

// A lifecycleRun is what a run of a policy did, as the registry tells it.
type lifecycleRun struct {
	Repository string           `json:"repository"`
	StartedAt  time.Time        `json:"startedAt"`
	FinishedAt time.Time        `json:"finishedAt,omitzero"` // not set: it goes on, or was cut off
	Expired    int              `json:"expired"`
	Archived   int              `json:"archived"`
	Failed     int              `json:"failed"`
	Bytes      int64            `json:"bytes"`
	FreedBytes int64            `json:"freedBytes"`
	Images     []lifecycleEvent `json:"images"`
}

// A lifecycleEvent is what a run did with one image.
type lifecycleEvent struct {
	Digest  string   `json:"digest"`
	Tags    []string `json:"tags,omitempty"`
	Rule    int      `json:"rule"`
	Action  string   `json:"action"`
	Failure string   `json:"failure,omitempty"`
}

// askRuns asks for runs of one repository, to happen or that were.
func askRuns(ctx context.Context, client *ecr.Client, operation, repository string) ([]lifecycleRun, error) {
	var out struct {
		Runs []struct {
			lifecycleRun
			StartedAt  float64 `json:"startedAt"` // seconds: times of the API are numbers
			FinishedAt float64 `json:"finishedAt"`
		}
	}
	if err := callOwn(ctx, client, operation, map[string]string{"repositoryName": repository}, &out); err != nil {
		return nil, err
	}
	at := func(seconds float64) (t time.Time) {
		if seconds != 0 {
			t = time.UnixMilli(int64(seconds * 1000)).UTC()
		}
		return t
	}
	runs := make([]lifecycleRun, len(out.Runs))
	for i, r := range out.Runs {
		runs[i] = r.lifecycleRun
		runs[i].Repository, runs[i].StartedAt, runs[i].FinishedAt = repository, at(r.StartedAt), at(r.FinishedAt)
	}
	return runs, nil
}

func newLifecycleRunCommand(env *environment) *cobra.Command {
	var f registryFlags
	var repository string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Apply the lifecycle policies of a running Berth now",
		Long: `Applies the lifecycle policy of one repository, or of all that have one, without waiting for the hourly run, and prints
what that did. It needs the right to put the policy (ecr:PutLifecyclePolicy). Amazon ECR applies policies in its own time
and has no such command.`,
		Example: `  berth lifecycle run --repository flowise-server
  berth lifecycle run --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			runs, err := runPolicies(cmd.Context(), client, repository)
			return errors.Join(err, printRuns(env, runs, asJSON))
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&repository, "repository", "", "`NAME` of the repository (default: all that have a policy)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// runPolicies applies the policies of all repositories, or of the one named. What was done before an error is in the runs.
func runPolicies(ctx context.Context, client *ecr.Client, repository string) (runs []lifecycleRun, err error) {
	if repository != "" {
		return runPolicy(ctx, client, repository)
	}
	runs = []lifecycleRun{}
	for name, err := range repositoryNames(ctx, client) {
		if err != nil {
			return runs, err
		}
		got, err := runPolicy(ctx, client, name)
		var refused smithy.APIError
		if errors.As(err, &refused) && strings.HasSuffix(refused.ErrorCode(), "NotFoundException") {
			continue // it has no policy, or is gone by now
		}
		if err != nil {
			return runs, err
		}
		runs = append(runs, got...)
	}
	return runs, nil
}

func runPolicy(ctx context.Context, client *ecr.Client, repository string) ([]lifecycleRun, error) {
	runs, err := askRuns(ctx, client, "BerthRunLifecyclePolicy", repository)
	if err != nil {
		return nil, fmt.Errorf("apply the lifecycle policy of %s: %w", repository, err)
	}
	return runs, nil
}

func newLifecycleRunsCommand(env *environment) *cobra.Command {
	var f registryFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "runs REPOSITORY",
		Short: "Show what the last runs of a repository's lifecycle policy did on a running Berth",
		Long: `Lists the last 20 runs in which the policy did something, the newest first, with the images and the rules. A run that
was cut off is listed with what it had done. It needs the right to read the policy (ecr:GetLifecyclePolicy).`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := f.client(cmd.Context())
			if err != nil {
				return err
			}
			runs, err := askRuns(cmd.Context(), client, "BerthListLifecycleRuns", args[0])
			if err != nil {
				return fmt.Errorf("list the runs of %s: %w", args[0], err)
			}
			return printRuns(env, runs, asJSON)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func printRuns(env *environment, runs []lifecycleRun, asJSON bool) error {
	if asJSON {
		return printJSON(env.stdout, runs)
	}
	var lines []string
	for _, r := range runs {
		lines = append(lines, r.text()...)
	}
	if len(runs) == 0 {
		lines = []string{"no lifecycle policy did anything"}
	}
	return printAll(env.stdout, "", lines)
}

// text is a run with its images.
func (r lifecycleRun) text() []string {
	end := ""
	if r.FinishedAt.IsZero() {
		end = "; it goes on, or was cut off"
	}
	lines := []string{fmt.Sprintf("%s at %s: expired %d images of %s, which frees %s; archived %d, failed %d%s", r.Repository,
		r.StartedAt.Format(time.RFC3339), r.Expired, size(r.Bytes), size(r.FreedBytes), r.Archived, r.Failed, end)}
	if len(r.Images) > 0 {
		lines = append(lines, fmt.Sprintf("  %-10s  %4s  %-19s  %s", "ACTION", "RULE", "DIGEST", "TAGS"))
	}
	for _, i := range r.Images {
		line := fmt.Sprintf("  %-10s  %4d  %-19s  %s", i.Action, i.Rule, i.Digest[:min(len(i.Digest), 19)], cmp.Or(strings.Join(i.Tags, " "), "-"))
		if i.Failure != "" {
			line += "  (not done: " + i.Failure + ")"
		}
		lines = append(lines, line)
	}
	if all := r.Expired + r.Archived + r.Failed; all > len(r.Images) {
		lines = append(lines, fmt.Sprintf("  and %d more", all-len(r.Images)))
	}
	return lines
}
