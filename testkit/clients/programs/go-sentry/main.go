// Manages projects and keys with go-sentry, the library of the Terraform provider.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"

	"github.com/jianyuan/go-sentry/v2/sentry"
)

var (
	background   = context.Background()
	organization = os.Getenv("ORG")
)

type authorized struct{}

func (authorized) RoundTrip(request *http.Request) (*http.Response, error) {
	request.Header.Set("Authorization", "Bearer "+os.Getenv("TOKEN"))
	return http.DefaultTransport.RoundTrip(request)
}

// Ends the program unless the operation worked and its result is as expected.
func did(operation string, err error, expected bool) {
	if err != nil || !expected {
		fmt.Fprintf(os.Stderr, "%s: error %v, result as expected: %v\n", operation, err, expected)
		os.Exit(1)
	}
	fmt.Println(operation)
}

func main() {
	client, err := sentry.NewOnPremiseClient(os.Getenv("API_URL"), &http.Client{Transport: authorized{}})
	did("connect", err, true)
	teams(client)
	project := projects(client)
	keys(client, project)
	_, err = client.Projects.Delete(background, organization, project)
	did("delete project", err, true)
	_, _, err = client.Projects.Get(background, organization, project)
	var response *sentry.ErrorResponse
	did("read a missing project", nil, errors.As(err, &response) && response.Response.StatusCode == http.StatusNotFound)
}

func teams(client *sentry.Client) {
	listed, _, err := client.Organizations.List(background, nil)
	did("list organizations", err, len(listed) == 1 && *listed[0].Slug == organization)
	read, _, err := client.Organizations.Get(background, organization)
	did("read organization", err, *read.Slug == organization && read.DateCreated != nil)
	teams, _, err := client.Teams.List(background, organization, nil)
	did("list teams", err, len(teams) == 1 && *teams[0].Slug == organization)
	team, _, err := client.Teams.Get(background, organization, organization)
	did("read team", err, err == nil && *team.ID == *teams[0].ID)
}

func projects(client *sentry.Client) string {
	platform := "python"
	created, _, err := client.Projects.Create(background, organization, organization, &sentry.CreateProjectParams{
		Name: "Go Sentry", Slug: "go", Platform: platform, DefaultRules: sentry.Bool(false),
	})
	did("create project", err, err == nil && created.Slug == "go" && created.Platform == platform)
	read, _, err := client.Projects.Get(background, organization, "go")
	did("read project", err, err == nil && read.ID == created.ID && *read.Teams[0].Slug == organization)
	updated, _, err := client.Projects.Update(background, organization, read.ID, &sentry.UpdateProjectParams{
		Name: "Renamed", Slug: "renamed", Platform: "go",
	})
	did("update project", err, err == nil && updated.Slug == "renamed" && updated.Platform == "go")
	listed, _, err := client.OrganizationProjects.List(background, organization, nil)
	did("list projects of the organization", err, len(listed) == 2)
	listed, _, err = client.Projects.List(background, nil)
	did("list projects", err, len(listed) == 2)
	return "renamed"
}

func keys(client *sentry.Client, project string) {
	limit := sentry.ProjectKeyRateLimit{Window: 60, Count: 100}
	created, _, err := client.ProjectKeys.Create(background, organization, project, &sentry.CreateProjectKeyParams{
		Name: "Backend", RateLimit: &limit,
	})
	did("create key", err, err == nil && created.Name == "Backend" && *created.RateLimit == limit)
	read, _, err := client.ProjectKeys.Get(background, organization, project, created.ID)
	did("read key", err, err == nil && read.DSN == created.DSN && read.DSN.Public != "")
	limit.Count = 50
	updated, _, err := client.ProjectKeys.Update(background, organization, project, created.ID, &sentry.UpdateProjectKeyParams{
		Name: "API", RateLimit: &limit,
	})
	did("update key", err, err == nil && updated.Name == "API" && *updated.RateLimit == limit)
	for number := range 11 {
		name := fmt.Sprintf("Key %d", number)
		_, _, err = client.ProjectKeys.Create(background, organization, project, &sentry.CreateProjectKeyParams{Name: name})
		must(err)
	}
	found, pages := listKeys(client, project)
	did(fmt.Sprintf("list %d keys in %d pages", len(found), pages), nil, len(found) == 13 && pages == 2)
	_, err = client.ProjectKeys.Delete(background, organization, project, created.ID)
	did("delete key", err, true)
	left, _ := listKeys(client, project)
	did("list the others", nil, !slices.Contains(left, created.ID) && len(left) == 12)
}

func must(err error) {
	if err != nil {
		did("create key", err, false)
	}
}

func listKeys(client *sentry.Client, project string) (found []string, pages int) {
	parameters := sentry.ListProjectKeysParams{}
	for {
		page, response, err := client.ProjectKeys.List(background, organization, project, &parameters)
		must(err)
		pages++
		for _, key := range page {
			found = append(found, key.ID)
		}
		if response.Cursor == "" {
			return found, pages
		}
		parameters.Cursor = response.Cursor
	}
}
