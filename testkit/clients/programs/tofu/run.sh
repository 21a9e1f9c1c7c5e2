#!/bin/sh
# Manages projects and keys with the Terraform provider under OpenTofu.
set -eu
rm -rf terraform.tfstate* .terraform*
cat > tofu.rc <<EOF
provider_installation {
  dev_overrides {
    "jianyuan/sentry" = "$(dirname "$(command -v terraform-provider-sentry)")"
  }
  direct {}
}
EOF
export TF_CLI_CONFIG_FILE="$PWD/tofu.rc" SENTRY_AUTH_TOKEN="$TOKEN" SENTRY_BASE_URL="$API_URL/api/"
export TF_VAR_organization="$ORG" CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1

# Executes a command of OpenTofu.
tofu() {
    ./tofu "$@" -no-color >&2
}
tofu apply -auto-approve
echo "create a project with 12 keys"
tofu plan -detailed-exitcode
echo "plan no changes"
tofu apply -auto-approve -var events=50
tofu plan -detailed-exitcode -var events=50
echo "update the keys"
tofu apply -auto-approve -var events=50 -var project=renamed
tofu plan -detailed-exitcode -var events=50 -var project=renamed
echo "rename the project"
tofu destroy -auto-approve -var events=50 -var project=renamed
echo "destroy"
