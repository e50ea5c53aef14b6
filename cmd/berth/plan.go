package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"berth/internal/module"
)

// newPlanCommand is `berth plan`: shows what apply would do. It changes nothing.
func newPlanCommand(env *environment) *cobra.Command {
	var flags engineFlags
	var planning planFlags
	var destroy, asJSON, detailed bool
	cmd := &cobra.Command{
		Use:   "plan [DIR | FILE.tfvars]",
		Short: "Show what apply would change, without Terraform",
		Long: `Compares the module block in DIR (default: the current directory) with the registry and shows what
apply would change. A .tfvars file in place of DIR holds the inputs of the module directly.

Exit codes: 0 done, 1 failed; with --detailed-exitcode 0 no changes, 1 failed, 2 changes.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			stack, client, err := flags.open(cmd.Context(), env, directory(args))
			if err != nil {
				return err
			}
			makePlan := stack.Plan
			if destroy {
				makePlan = stack.PlanDestroy
			}
			p, err := makePlan(cmd.Context(), client, planning.options())
			if err != nil {
				return err
			}
			if err := showImpact(cmd.Context(), env, client, p, &planning.impact, asJSON); err != nil {
				return err
			}
			if detailed && p.HasChanges() {
				return &exitError{code: changesPending}
			}
			return nil
		},
	}
	flags.register(cmd)
	planning.register(cmd)
	cmd.Flags().BoolVar(&destroy, "destroy", false, "plan the deletion of everything that the stack owns")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON, in the format of terraform show -json")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes")
	return cmd
}

// showPlan prints a plan with the warnings of the module.
func showPlan(env *environment, p *module.Plan) error {
	if err := printAll(env.stderr, "Warning: ", p.Warnings()); err != nil {
		return err
	}
	return p.WriteText(env.stdout, useColor(env, env.stdout))
}

// showImpact prints a plan with what it does to images. The error says why that is too much.
func showImpact(ctx context.Context, env *environment, client *module.Client, p *module.Plan, flags *impactFlags, asJSON bool) error {
	if !asJSON {
		if err := showPlan(env, p); err != nil {
			return err
		}
		_, err := flags.check(ctx, env, client, p, env.stdout)
		return err
	}
	if err := printAll(env.stderr, "Warning: ", p.Warnings()); err != nil {
		return err
	}
	report, refused := flags.check(ctx, env, client, p, io.Discard)
	b, err := planJSON(p, report)
	if err != nil {
		return fmt.Errorf("the plan cannot be written as JSON: %w", err)
	}
	_, err = fmt.Fprintf(env.stdout, "%s\n", b)
	return errors.Join(err, refused)
}
